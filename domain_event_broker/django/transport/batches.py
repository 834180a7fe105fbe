"""How many messages of a queue to claim at once."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

# A batch should keep its holder busy for about this long: long enough to be worth a claim, short
# enough to leave others their share.
_BATCH_SECONDS = 0.5


@dataclass(slots=True, eq=False)
class Batch:
    """What was claimed of a queue at once, and how long it took to handle."""

    #: How many were asked for.
    size: int = 1
    #: When, by `time.monotonic`.
    claimed_at: float = field(default_factory=time.monotonic)
    _left: int = 0
    _enough: int = 0
    #: Until half of it was settled: where several are handled at once, it may be the first of
    #: them that want the next.
    _took_seconds: float | None = None

    def claimed(self, count: int) -> None:
        """So many came."""
        self._left, self._enough = count, count // 2

    def settled_one(self) -> None:
        self._left -= 1
        if self._left <= self._enough and self._took_seconds is None:
            self._took_seconds = time.monotonic() - self.claimed_at

    def following(self, most: int) -> Batch:
        """The next of the same queue, as large as this one's time allows, and no larger."""
        size = self.size
        if self._took_seconds is None:
            pass  # nobody knows yet
        elif self._took_seconds < _BATCH_SECONDS:
            size *= 2
        elif self._took_seconds > 2 * _BATCH_SECONDS:
            size //= 2
        return Batch(min(max(size, 1), most))
