"""`Retry`, `Backoff`, and the arithmetic of delays: decisions only, no I/O."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from .errors import HandlerError, InvalidRetry
from .wording import shown

MAX_DELAY_SECONDS = 30 * 24 * 3600
_MAX_FACTOR = 1000
# Where so many retries have not reached the longest delay, the factor is 1 as good as exactly.
_MAX_EXPONENT = 1_000_000

Exceptions = type[BaseException] | tuple[type[BaseException], ...]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Which errors of a handler are retried, how often, and after which delays.

    The first retry waits `base` seconds, each further one `factor` times as long as the one
    before, and none longer than `max_delay`. Immutable and hashable, and so shared by handlers and
    threads. Raises `HandlerError`, also a `ValueError`, for anything out of its range.

    :param max_retries: how often one event is retried; one more attempt than that is made.
    :param base: seconds before the first retry, from 0 to 30 days.
    :param factor: from 1, for delays that stay the same, to 1000.
    :param max_delay: seconds, at least `base` and at most 30 days.
    :param jitter: from 0 to 1: up to this part of a delay is added or subtracted at random, so
        that what failed together does not come back together.
    :param on: the exceptions that are retried: a class or a tuple of classes. Others are
        dead-lettered at once.
    :param giving_up: exceptions that are dead-lettered at once although `on` includes them.
    """

    max_retries: int = 5
    base: float = 1.0
    factor: float = 2.0
    max_delay: float = 3600.0
    jitter: float = 0.1
    on: Exceptions = (Exception,)
    giving_up: Exceptions = ()

    def __post_init__(self) -> None:
        check_max_retries(self.max_retries, "Backoff's max_retries")
        _check_number("base", self.base, 0, MAX_DELAY_SECONDS, " of seconds")
        _check_number("factor", self.factor, 1, _MAX_FACTOR)
        _check_number("max_delay", self.max_delay, 0, MAX_DELAY_SECONDS, " of seconds")
        _check_number("jitter", self.jitter, 0, 1)
        if self.max_delay < self.base:
            raise HandlerError("Backoff's max_delay must not be less than its base.")
        # Equal policies are to be equal, however they were written.
        object.__setattr__(self, "on", _exceptions("on", self.on))
        object.__setattr__(self, "giving_up", _exceptions("giving_up", self.giving_up))

    def delay_seconds(self, retry_number: int) -> float:
        """How long to wait before a retry, counted from 1. At random within `jitter`."""
        exponent = min(max(retry_number, 1) - 1, _MAX_EXPONENT)
        try:
            delay = min(self.base * float(self.factor) ** exponent, self.max_delay)
        except OverflowError:
            delay = self.max_delay if self.base else 0.0
        longest = min(delay * (1 + self.jitter), self.max_delay)
        # What is drawn may end up beyond its limits by rounding.
        return min(random.uniform(delay * (1 - self.jitter), longest), float(self.max_delay))

    def wants(self, error: BaseException) -> bool:
        """Whether `error` is retried, while retries are left."""
        return isinstance(error, self.on) and not self.gives_up(error)

    def gives_up(self, error: BaseException) -> bool:
        """Whether `error` is dead-lettered at once, whatever `on` says."""
        return isinstance(error, self.giving_up)


def check_max_retries(value: object, what: str = "max_retries") -> None:
    """Raise `HandlerError` for what is no count."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise HandlerError(f"{what} must be a whole number from 0, not {shown(value)}.")


def check_retries(max_retries: object, backoff: object) -> None:
    """Raise `HandlerError` if a handler's retries are not said, or said twice."""
    check_max_retries(max_retries)
    if backoff is None:
        return
    if not isinstance(backoff, Backoff):
        raise HandlerError(f"backoff must be a Backoff such as Backoff(), not {shown(backoff)}.")
    if max_retries:
        raise HandlerError(
            "max_retries is given beside backoff: say it once, as Backoff(max_retries=...)."
        )


def _check_number(name: str, value: object, least: int, most: int, unit: str = "") -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not least <= value <= most  # NaN is not, either
    ):
        raise HandlerError(
            f"Backoff's {name} must be a number{unit} from {least} to {most}, not {shown(value)}."
        )


def _exceptions(name: str, value: Any) -> tuple[type[BaseException], ...]:
    kinds = value if isinstance(value, tuple) else (value,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise HandlerError(
                f"Backoff's {name} must be an exception class or a tuple of such, "
                f"not {shown(value)}."
            )
    return kinds


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
