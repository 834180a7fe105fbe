"""`Retry`, and the arithmetic of delays: decisions only, no I/O."""

from __future__ import annotations

import random

from .errors import InvalidRetry
from .wording import shown

MAX_DELAY_SECONDS = 30 * 24 * 3600


class Retry(Exception):
    """Raise this in a handler to have the event handled again after `delay` seconds.

    `delay` may be anything from 0 to 30 days. The event comes back at the earliest then and, but
    for queueing, at most 100 ms later. It uses up one of the handler's `max_retries`; when none
    is left, the event is dead-lettered. Raises `InvalidRetry`, a `ValueError`, for another delay;
    a handler that raises so has its event dead-lettered with that reason.
    """

    def __init__(self, delay: float = 10.0) -> None:
        self.delay = check_delay(delay)
        super().__init__(f"retry in {self.delay:g} s")


def check_delay(delay: object) -> float:
    """Return the delay in seconds, or raise `InvalidRetry`."""
    if (
        isinstance(delay, bool)
        or not isinstance(delay, int | float)
        or not 0 <= delay <= MAX_DELAY_SECONDS  # NaN is not, either
    ):
        raise InvalidRetry(
            f"Retry's delay must be a number of seconds from 0 to {MAX_DELAY_SECONDS} "
            f"(30 days), not {shown(delay)}."
        )
    return float(delay)


def may_retry(retries: int, max_retries: int) -> bool:
    """Tell whether an event that was retried `retries` times may be once more."""
    return retries < max_retries


def backoff_seconds(attempt: int, base_seconds: float, max_seconds: float) -> float:
    """How long to wait after failed attempt number `attempt`, counted from 0.

    Doubles from `base_seconds` to `max_seconds`, less up to a half of it at random, so that many
    clients of one broker do not come back together.
    """
    delay = min(base_seconds * 2.0 ** min(attempt, 32), max_seconds)
    return delay * random.uniform(0.5, 1.0)
