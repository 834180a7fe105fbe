"""Exceptions from a signal handler, such as a soft time limit, at any point of the main thread."""

from __future__ import annotations

import dis
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import domain_event_broker

#: What a publish runs through: this package, and the locks that it waits at.
FILES = (str(Path(domain_event_broker.__file__).parent), threading.__file__)
#: After these instructions Python runs the handlers of signals that came meanwhile.
CHECKED = frozenset({"CALL", "CALL_FUNCTION_EX", "CALL_KW", "JUMP_BACKWARD", "RESUME"})


class Interrupted(BaseException):
    """What the signal handler raises."""


class Tracer:
    """Raises `Interrupted` at the n-th point at which a signal handler may run."""

    def __init__(self, nth: int) -> None:
        self._nth = nth
        self._passed = 0
        self._last: dict[FrameType, str] = {}

    @property
    def has_raised(self) -> bool:
        return self._passed >= self._nth

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(FILES):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._trace

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "opcode":
            last = self._last.get(frame)
            self._last[frame] = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            if last in CHECKED:
                self._passed += 1
                if self._passed == self._nth:
                    raise Interrupted
        return self._trace


@contextmanager
def interrupted_at(nth: int) -> Iterator[Tracer]:
    """Interrupt the block at its n-th point, if it has so many."""
    tracer = Tracer(nth)
    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        yield tracer
    except Interrupted:
        pass
    finally:
        sys.settrace(before)


class Alarm:
    """Interrupts what is called, by SIGALRM. For the main thread."""

    def __init__(self) -> None:
        self._is_set = False
        signal.signal(signal.SIGALRM, self._ring)

    def interrupt(self, work: Callable[[], object], after_seconds: float) -> None:
        """Call `work`, and interrupt it after so long, if it takes so long."""
        try:
            self._is_set = True
            signal.setitimer(signal.ITIMER_REAL, after_seconds)
            work()
            # From here on it comes too late.
            self._is_set = False
        except BaseException:
            # Once interrupted, what it calls may raise anything instead.
            if self._is_set:
                raise

    def _ring(self, number: int, frame: FrameType | None) -> None:
        if self._is_set:
            self._is_set = False
            raise Interrupted
