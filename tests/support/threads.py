"""Threads of a test, which leave no database connection open behind them."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.db import connections

T = TypeVar("T")

START_SECONDS = 30.0


def start_thread(work: Callable[..., object], *arguments: Any) -> threading.Thread:
    """Run `work(*arguments)` in a thread, which ends with the process at the latest."""
    thread = threading.Thread(target=_call, args=(work, *arguments), daemon=True)
    thread.start()
    return thread


def at_once(*works: Callable[[], T]) -> list[T]:
    """Run all at the same moment, each in a thread of its own.

    Return what they returned, in their order; what one of them raises is raised.
    """
    together = threading.Barrier(len(works))

    def run(work: Callable[[], T]) -> T:
        together.wait(START_SECONDS)
        return _call(work)

    with ThreadPoolExecutor(len(works)) as threads:
        return list(threads.map(run, works))


def _call(work: Callable[..., T], *arguments: Any) -> T:
    try:
        return work(*arguments)
    finally:
        # They are the thread's own, and nobody else closes them.
        connections.close_all()
