"""When to leave a channel that refuses events for a new one, which may not."""

from __future__ import annotations

import time
from collections.abc import Callable

# One of RabbitMQ 3.10 that was opened while the cluster had not yet noticed that a queue's leader
# died refuses all for that queue until the node is back (`rabbit_fifo_client` asks that node
# first). Twice as long after each that refused some, too, as all do for queues that are full.
_BASE_SECONDS = 2.0
_MAX_SECONDS = 60.0
_MAX_DOUBLINGS = 10
# How long all others may wait for the last answers on such a channel.
_DRAIN_SECONDS = 1.0


class Refusals:
    """What a publisher's channels refused. For the connection's thread only.

    :param clock: tells the time, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._has_refused = False
        self._since = 0.0
        # Channels in a row that were left over this.
        self._left = 0
        self._draining_since: float | None = None

    def opened(self) -> None:
        """There is a new channel."""
        self._has_refused, self._since = False, self._clock()
        self._draining_since = None

    def note(self) -> None:
        """It refused an event."""
        if not self._has_refused and self._clock() >= self._since + _MAX_SECONDS:
            self._left = 0
        self._has_refused = True

    def left(self) -> None:
        """It was left, as it `is_worn_out`."""
        self._left += 1

    @property
    def is_worn_out(self) -> bool:
        if not self._has_refused:
            return False
        doubled: float = _BASE_SECONDS * 2 ** min(self._left, _MAX_DOUBLINGS)
        allowed_seconds = min(doubled, _MAX_SECONDS)
        return self._clock() >= self._since + allowed_seconds

    def drain_seconds(self) -> float:
        """How long to write nothing on a channel that is to be left, so that all is answered.

        Zero once that takes too long: it is kept for a while then.
        """
        now = self._clock()
        if self._draining_since is None:
            self._draining_since = now
        remaining = self._draining_since + _DRAIN_SECONDS - now
        if remaining > 0:
            return remaining
        self._draining_since, self._since = None, now
        return 0.0
