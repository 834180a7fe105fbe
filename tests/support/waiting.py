"""Waiting on conditions, so that no test ever sleeps for a guessed time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T],
    timeout_seconds: float = 30,
    message: str | Callable[[], str] = "the awaited condition never became true",
    interval_seconds: float = 0.02,
) -> T:
    """Return the first true value of `condition()`; past the deadline, fail with `message`.

    `condition` is always asked at least once more at the deadline, so a machine that was
    busy elsewhere does not fail a condition that has come true meanwhile. An exception
    that `condition` raises is not swallowed. A `message` that is called may describe the
    state things were left in.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        late = time.monotonic() >= deadline
        value = condition()
        if value:
            return value
        if late:
            reason = message if isinstance(message, str) else message()
            raise AssertionError(f"{reason} (waited {timeout_seconds:g} s)")
        time.sleep(interval_seconds)
