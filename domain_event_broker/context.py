"""Which event is being handled, so that what is published meanwhile names its cause."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Handling:
    """The delivery that the current context handles."""

    event_id: str
    correlation_id: str


_current: ContextVar[Handling | None] = ContextVar("domain_event_broker_handling", default=None)


def current_handling() -> Handling | None:
    return _current.get()


@contextmanager
def handling(event_id: str, correlation_id: str) -> Iterator[None]:
    token = _current.set(Handling(event_id, correlation_id))
    try:
        yield
    finally:
        _current.reset(token)
