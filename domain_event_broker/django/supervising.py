"""Several processes that do the same: forked, watched, replaced when they die, ended together.

The one that forks them does nothing else. It has no thread, connection or channel for them to
inherit. They end when it ends, however it ends.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass

from ..retrying import backoff_seconds
from .stopping import StopSign, hold_signals
from .supervised import MISCONFIGURED, Supervised, Wires

log = logging.getLogger(__name__)

_RESTART_SECONDS = 1.0
_MAX_RESTART_SECONDS = 30.0
# One that lived so long did not fail at its start.
_SETTLED_SECONDS = 60.0
_POLL_SECONDS = 0.1


@dataclass(slots=True)
class _Child:
    pid: int
    started_at: float

    def __str__(self) -> str:
        return f"pid {self.pid}"

    @property
    def age_seconds(self) -> float:
        return time.monotonic() - self.started_at


class Supervisor:
    """Keeps `count` forked copies of this process running. For the main thread, and once.

    ::

        supervised = supervisor.run()
        if supervised is None:
            ...  # this is the supervisor, and all of them have ended: see `exit_status`
        else:
            ...  # this is one of them

    :param is_limited: whether they end by themselves when they are done. One that does so without
        is replaced: somebody ended that one only.
    """

    def __init__(self, count: int, *, is_limited: bool = False) -> None:
        self._is_limited = is_limited
        self._wires = Wires()
        self._children: dict[int, _Child] = {}
        #: By role: when its next process starts, and how often in a row it died soon.
        self._due_at = dict.fromkeys(range(count), 0.0)
        self._failures = dict.fromkeys(range(count), 0)
        self._stop = StopSign()
        self._is_stopping = False
        #: What this process should end with once `run` returned ``None``.
        self.exit_status = 0
        #: Why one of them could not run, where that ended all.
        self.complaint = ""

    def stop(self) -> None:
        """Have all of them end; returns at once, and may be called from a signal handler."""
        self._stop.set()

    def kill(self) -> None:
        """End all of them now, whatever they do; may be called from a signal handler."""
        for child in list(self._children.values()):
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)

    def run(self) -> Supervised | None:
        """Fork, watch and replace until all have ended well, or one must not be replaced.

        Returns in each process: in a forked one what it is, with SIGTERM and SIGINT kept waiting
        until it says `Supervised.follow`; in this one ``None``, at the end.
        """
        # Whoever started us may have ignored it, and then nobody hears how a child ended.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        gc.freeze()  # or the first collection of each would copy all that they share
        while self._children or self._due_at:
            if self._stop.is_set():
                self._end_all()
            self._bury()
            for role in self._due_roles():
                if self._start(role):
                    return Supervised(role, self._wires)
            self._pause()
        self.complaint = self._wires.complaint()
        self._wires.close()
        return None

    def _start(self, role: int) -> bool:
        """Fork the process of that role; true in it."""
        del self._due_at[role]
        let_in = hold_signals()
        try:
            pid = os.fork()
            if not pid:
                return True  # the signals wait on: our handlers are none of its own
            self._children[role] = _Child(pid, time.monotonic())
        except OSError as error:  # no more processes, or no memory, for now
            seconds = self._start_later(role)
            log.error(
                "Process %d cannot be started: %s (next try in %.1f s)", role + 1, error, seconds
            )
        let_in()
        return False

    def _start_later(self, role: int) -> float:
        seconds = backoff_seconds(self._failures[role], _RESTART_SECONDS, _MAX_RESTART_SECONDS)
        self._failures[role] += 1
        self._due_at[role] = time.monotonic() + seconds
        return seconds

    def _bury(self) -> None:
        for role, child in list(self._children.items()):
            let_in = hold_signals()  # or `kill` might find a process id that is another's by now
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                del self._children[role]
            let_in()
            if pid:
                self._note_end(role, child, os.waitstatus_to_exitcode(status))

    def _note_end(self, role: int, child: _Child, exit_status: int) -> None:
        told = f"Process {role + 1} ({child}) {_told(exit_status)} after {child.age_seconds:.0f} s"
        if self._is_stopping or (exit_status == 0 and self._is_limited):
            self.exit_status = self.exit_status or (1 if exit_status < 0 else exit_status)
            if exit_status not in (0, MISCONFIGURED):  # which is told by the complaint
                log.error("%s, while it was to end.", told)
        elif exit_status == MISCONFIGURED:
            self.exit_status = MISCONFIGURED
            self._end_all()
        else:
            if child.age_seconds >= _SETTLED_SECONDS:
                self._failures[role] = 0
            seconds = self._start_later(role)
            level = logging.ERROR if exit_status else logging.WARNING
            log.log(level, "%s; another takes its place in %.1f s.", told, seconds)

    def _due_roles(self) -> list[int]:
        now = time.monotonic()
        return [role for role, due_at in self._due_at.items() if due_at <= now]

    def _pause(self) -> None:
        if self._is_stopping:
            time.sleep(_POLL_SECONDS)  # the sign is set, and waits no more
        else:
            self._stop.wait(_POLL_SECONDS)

    def _end_all(self) -> None:
        self._is_stopping = True
        self._due_at.clear()
        self._wires.hang_up()


def _told(exit_status: int) -> str:
    if exit_status >= 0:
        return f"ended with status {exit_status}"
    if exit_status == -signal.SIGKILL:
        return "was killed by SIGKILL, by somebody or for want of memory,"
    with suppress(ValueError):
        return f"was killed by {signal.Signals(-exit_status).name}"
    return f"was killed by signal {-exit_status}"
