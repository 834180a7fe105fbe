"""Which event is being handled, so that what is published meanwhile names its cause."""

from __future__ import annotations

from contextvars import ContextVar

from .values import value


@value
class Handling:
    """The delivery that the current context handles."""

    event_id: str
    correlation_id: str


_current: ContextVar[Handling | None] = ContextVar("domain_event_broker_handling", default=None)


def current_handling() -> Handling | None:
    return _current.get()


class handling:  # noqa: N801
    """A context in which the delivery is handled. A class, since it is entered for each event."""

    __slots__ = ("_handling", "_token")

    def __init__(self, event_id: str, correlation_id: str) -> None:
        self._handling = Handling(event_id, correlation_id)

    def __enter__(self) -> None:
        self._token = _current.set(self._handling)

    def __exit__(self, *exc_info: object) -> None:
        _current.reset(self._token)
