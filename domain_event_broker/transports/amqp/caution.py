"""Whether an event is here, or may come next, that may have ended a process before."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from .connection import ConnectionThread

# An event that should come, but that somebody else may have taken, is looked for after so long, and
# so often: a busy broker may take seconds.
_SILENCE_SECONDS = 1.0
_MAX_LOOKS = 10


class Caution:
    """Of one subscription; all in the connection's thread.

    :param is_cautious: whether what may end the process is still to be expected.
    :param ask_count: have a function told how many messages wait; False where nobody can be asked.
    """

    def __init__(
        self,
        thread: ConnectionThread,
        is_cautious: Callable[[], bool],
        ask_count: Callable[[Callable[[int], None]], bool],
    ) -> None:
        #: The last event that has crashes.
        self.suspect_tag = 0
        self._thread = thread
        self._is_cautious = is_cautious
        self._ask_count = ask_count
        self._on_safe: Callable[[], None] | None = None
        self._has_received = False
        # Until when, by `time.monotonic`, another one with crashes is to be expected after it.
        self._suspicious_until = 0.0

    @property
    def is_starting(self) -> bool:
        """Whether what waits first is not known yet to be harmless."""
        return self._on_safe is not None

    @property
    def expects_suspect(self) -> bool:
        return self.is_starting or time.monotonic() < self._suspicious_until

    def opened(self) -> None:
        """The channel is a new one, with new tags."""
        self._has_received = False
        self.suspect_tag = 0

    def begin(self, on_safe: Callable[[], None] | None) -> None:
        """`on_safe` is called once what waits first went well, or nothing says it might not."""
        self._on_safe = on_safe

    def end(self) -> None:
        """Nobody waits for that any more."""
        self._on_safe = None

    def counted(self, message_count: int) -> None:
        """So many waited before any were delivered."""
        if message_count:
            self._expect_next(_MAX_LOOKS)
        else:
            self.safe()

    def received(self, tag: int, crashes: int) -> None:
        self._has_received = True
        if crashes:
            self.suspect_tag = tag
        else:
            self._suspicious_until = 0.0
            self.safe()

    def settled(self, crashes: int) -> None:
        # What was there when the process ended comes again in any order, and this was one of that.
        if crashes and self.is_starting and self._is_cautious():
            self._has_received = False
            self._expect_next(_MAX_LOOKS)
        else:
            self.safe()

    def expect_another(self) -> None:
        """What follows soon may have crashes, too."""
        self._suspicious_until = time.monotonic() + _SILENCE_SECONDS

    def safe(self) -> None:
        """What could have ended the process before was handled, or there is nothing like that."""
        on_safe, self._on_safe = self._on_safe, None
        if on_safe is not None:
            on_safe()

    def _expect_next(self, looks: int) -> None:
        """Wait for the next event; look at most so often whether the queue has one."""
        self._thread.loop.call_later(_SILENCE_SECONDS, partial(self._on_silence, looks))

    def _on_silence(self, looks: int) -> None:
        if self._has_received or not self.is_starting:
            return

        def on_count(message_count: int) -> None:
            # Where there is none any more it may be on its way, so once more.
            self._expect_next(looks - 1 if message_count else 0)

        if not looks or not self._ask_count(on_count):
            self.safe()
