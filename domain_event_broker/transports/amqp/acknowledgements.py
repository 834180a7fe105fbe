"""Which delivery tags of a channel are settled, and how to say so in few frames."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator


class Acknowledgements:
    """Tags in the order of delivery. For the connection's thread only."""

    def __init__(self) -> None:
        # Tag -> whether it is settled and only waits to be told to the broker.
        self._tags: OrderedDict[int, bool] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tags)

    def delivered(self, tag: int) -> None:
        self._tags[tag] = False

    def settled(self, tag: int) -> bool:
        """Note that `tag` can be acknowledged; false if it is not open (any more)."""
        if self._tags.get(tag, True):
            return False
        self._tags[tag] = True
        return True

    def released(self, tag: int) -> bool:
        """Forget `tag`, which is given back; false if it is not open (any more)."""
        return not self._tags.get(tag, True) and self._tags.pop(tag) is False

    def take(self) -> Iterator[tuple[int, bool]]:
        """What to acknowledge, as (tag, multiple); forgets it.

        Settled tags before the first open one go out as one ``multiple``, which acknowledges all
        up to its tag; the others one by one.
        """
        last, count = 0, 0
        while self._tags and self._tags[next(iter(self._tags))]:
            last, _ = self._tags.popitem(last=False)
            count += 1
        if count:
            yield last, count > 1
        for tag in [tag for tag, is_settled in self._tags.items() if is_settled]:
            del self._tags[tag]
            yield tag, False
