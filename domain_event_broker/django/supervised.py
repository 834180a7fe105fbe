"""What joins a supervisor to the processes that it forks: how they hear of it, and it of them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from .stopping import SIGNALS

#: Exit status of a process that must not be replaced, since the next one would fail as it did:
#: EX_CONFIG of sysexits.h.
MISCONFIGURED = 78

# What a pipe takes at once, whoever else writes into it.
_MAX_COMPLAINT_BYTES = 4000
_END = b"\0"


class Wires:
    """Two pipes, made before the first fork.

    Into the first one nobody writes. The supervisor alone holds its other end: when that is
    closed, on purpose or because the supervisor died, all that were forked know it.
    """

    def __init__(self) -> None:
        self._call_ends, self._supervisor_lives = os.pipe()
        self._complaints, self._complain = os.pipe()
        os.set_blocking(self._complaints, False)

    # The supervisor's

    def hang_up(self) -> None:
        """Have all of them end. Idempotent."""
        if self._supervisor_lives >= 0:
            os.close(self._supervisor_lives)
            self._supervisor_lives = -1

    def complaint(self) -> str:
        """The first that came; empty where none did."""
        try:
            told = os.read(self._complaints, _MAX_COMPLAINT_BYTES)
        except BlockingIOError:
            return ""
        return told.partition(_END)[0].decode("utf-8", "replace")

    def close(self) -> None:
        self.hang_up()
        for descriptor in (self._call_ends, self._complaints, self._complain):
            os.close(descriptor)

    # A forked process's

    def leave_to_supervisor(self) -> None:
        """Give up the supervisor's ends."""
        self.hang_up()
        os.close(self._complaints)

    def wait_for_the_end(self) -> None:
        os.read(self._call_ends, 1)

    def complain(self, text: str) -> None:
        os.write(self._complain, text.encode("utf-8", "replace")[: _MAX_COMPLAINT_BYTES - 1] + _END)


class Supervised:
    """One of the processes that a supervisor forked, as it sees itself.

    :param role: which of them it is, from 0; the one that takes its place has the same.
    """

    def __init__(self, role: int, wires: Wires) -> None:
        self.role = role
        self._wires = wires
        wires.leave_to_supervisor()

    def follow(self, stop: Callable[[], None]) -> None:
        """Call `stop`, in a thread, once the supervisor says so or is gone; let signals in.

        They were kept waiting until there is somebody to handle them, which is to be now.
        """

        def wait() -> None:
            self._wires.wait_for_the_end()
            stop()

        threading.Thread(target=wait, name="domain-event-broker supervisor", daemon=True).start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def complain(self, text: str) -> None:
        """Tell the supervisor why this process cannot run, before it ends as `MISCONFIGURED`."""
        self._wires.complain(text)
