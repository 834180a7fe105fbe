"""Ending on signals: the first asks, the second insists."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSign:
    """What one thread waits on and any other sets; also from a signal handler.

    An `Event` is not for those: its lock may be held by what the signal interrupts.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._wake: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        self._is_set = True
        self._wake.put(None)

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, timeout_seconds: float) -> None:
        """Return after the timeout, or once it is set."""
        if not self._is_set:
            with suppress(Empty):
                self._wake.get(timeout=timeout_seconds)


def _nothing() -> None:
    """For who has nothing more to end than itself."""


@contextmanager
def stopping_on_signals(
    stop: Callable[[], None], insist: Callable[[], None] = _nothing
) -> Iterator[None]:
    """Call `stop` on the first SIGTERM or SIGINT; call `insist` and end the process on the next.

    Both run inside whatever the main thread does, so they must take no lock. Outside of the main
    thread, where Python allows no signal handlers, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    is_asked = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal is_asked
        if is_asked:
            insist()
            os._exit(128 + number)
        is_asked = True
        stop()

    previous = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def hold_signals() -> Callable[[], None]:
    """Keep SIGTERM and SIGINT from this thread until what is returned is called.

    What came before has been handled then. A process that is forked meanwhile keeps them waiting,
    too.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    return lambda: _let_in(before)


def _let_in(mask: Iterable[int]) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
