"""Time that passes only when it is told to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

# Where the package asks for the time, or waits, on the ways that the machines take.
_MODULES = ("handling", "publishing")
_DJANGO_MODULES = ("background", "care", "deferring", "relaying", "transport.consumer")

_BEGIN_SECONDS = 1_800_000_000.0


class Clock:
    """In place of the module `time`."""

    def __init__(self) -> None:
        self._seconds = _BEGIN_SECONDS

    def advance(self, seconds: float) -> None:
        self._seconds += seconds

    def time(self) -> float:
        return self._seconds

    def time_ns(self) -> int:
        return round(self._seconds * 1_000) * 1_000_000

    def monotonic(self) -> float:
        return self._seconds

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)


@contextmanager
def clock_of(package: str = "domain_event_broker", *, with_django: bool) -> Iterator[Clock]:
    """Have the package live by a clock of its own, as long as the block runs."""
    clock = Clock()
    names = [f"{package}.{name}.time" for name in _MODULES]
    if with_django:
        names += [f"{package}.django.{name}.time" for name in _DJANGO_MODULES]
    with pytest.MonkeyPatch.context() as patched:
        for name in names:
            patched.setattr(name, clock)
        yield clock
