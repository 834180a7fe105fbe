"""Which delivery tags of a channel are settled, and how to say so in few frames."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator


class Acknowledgements:
    """Tags in the order of delivery. For the connection's thread only."""

    def __init__(self) -> None:
        # Tag -> whether it is settled and only waits to be told to the broker.
        self._tags: OrderedDict[int, bool] = OrderedDict()
        # How many are settled: mostly none are behind an open one, and none are looked for.
        self._settled = 0

    def __len__(self) -> int:
        return len(self._tags)

    def delivered(self, tag: int) -> None:
        self._tags[tag] = False

    def settled(self, tag: int) -> bool:
        """Note that `tag` can be acknowledged; false if it is not open (any more)."""
        if self._tags.get(tag, True):
            return False
        self._tags[tag] = True
        self._settled += 1
        return True

    def is_open(self, tag: int) -> bool:
        """Whether `tag` was delivered, and is neither settled nor given back."""
        return self._tags.get(tag) is False

    @property
    def has_settled(self) -> bool:
        """Whether there is something to `take`."""
        return self._settled > 0

    def release(self, tags: Iterable[int]) -> Iterator[tuple[int, bool]]:
        """What to give back of `tags`, as (tag, multiple); forgets it.

        One ``multiple``, which gives back all up to its tag, where nothing else is left.
        """
        open_tags = [tag for tag in tags if not self._tags.get(tag, True)]
        for tag in open_tags:
            del self._tags[tag]
        if len(open_tags) > 1 and not self._tags:
            yield max(open_tags), True
        else:
            yield from ((tag, False) for tag in open_tags)

    def take(self) -> Iterator[tuple[int, bool]]:
        """What to acknowledge, as (tag, multiple); forgets each as it is taken.

        Settled tags before the first open one go out as one ``multiple``, which acknowledges all
        up to its tag; the others one by one.
        """
        last, count = 0, 0
        while self._tags and self._tags[next(iter(self._tags))]:
            last, _ = self._tags.popitem(last=False)
            count += 1
        self._settled -= count
        if count:
            yield last, count > 1
        if self._settled:
            for tag in [tag for tag, is_settled in self._tags.items() if is_settled]:
                del self._tags[tag]
                self._settled -= 1  # one by one, as not all may be taken
                yield tag, False
