"""For the tests of projects: see what is published, and have handlers handle it.

Nothing here needs a broker, a thread or a commit: it all works inside Django's `TestCase`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import overload

from ..context import handling
from ..encoding import decode
from ..events import DomainEvent
from ..handling import AlreadyHandled
from ..routing import matches
from . import capturing
from .inbox import once_per_event
from .registry import RegisteredHandler, registry
from .transactions import inbox_alias


class CapturedEvents(Sequence[DomainEvent]):
    """The events that were published, oldest first. Those of what rolled back are gone."""

    def __init__(self, capture: capturing.Capture) -> None:
        self._capture = capture

    @property
    def _events(self) -> list[DomainEvent]:
        return [decode(message) for message in self._capture.messages()]

    @property
    def routing_keys(self) -> list[str]:
        return [event.routing_key for event in self._events]

    @overload
    def __getitem__(self, index: int) -> DomainEvent: ...

    @overload
    def __getitem__(self, index: slice) -> list[DomainEvent]: ...

    def __getitem__(self, index: int | slice) -> DomainEvent | list[DomainEvent]:
        return self._events[index]

    def __len__(self) -> int:
        return len(self._capture.messages())

    def __repr__(self) -> str:
        return f"<CapturedEvents {self._events!r}>"


@contextmanager
def captured_events() -> Iterator[CapturedEvents]:
    """Keep what is published to the project's broker inside the block, in place of sending it.

    An event counts from its call on. It goes again if the transaction or savepoint it was published
    in rolls back; the one that a `TestCase` runs in does not count as such. For one thread.
    """
    capture = capturing.Capture()
    capturing.push(capture)
    try:
        yield CapturedEvents(capture)
    finally:
        capturing.pop()


def handle_events(
    events: DomainEvent | Iterable[DomainEvent], handlers: Iterable[str] | None = None
) -> list[str]:
    """Have each event handled by every registered handler that is bound to it, here and now.

    In this thread and on its database connection, with the inbox where a handler has one. Return
    the names of the handlers that ran, in order; one that had handled the event before does not.
    What a handler raises, `Retry` included, is raised.

    :param events: one event or several, such as `captured_events` gives.
    :param handlers: names of the handlers; by default all.
    """
    events = [events] if isinstance(events, DomainEvent) else list(events)
    names = None if handlers is None else set(handlers)
    ran = []
    for event in events:
        for handler in registry.handlers():
            if (names is None or handler.name in names) and _is_bound(handler, event):
                ran += [handler.name] * _handle(handler, event)
    return ran


def _handle(handler: RegisteredHandler, event: DomainEvent) -> bool:
    alias = handler.using or inbox_alias()
    function = handler.function
    if handler.inbox:
        function = once_per_event(function, handler.name, alias)
    try:
        with handling(event.uuid_string, event.uuid_string):
            function(event)
    except AlreadyHandled:
        return False
    return True


def _is_bound(handler: RegisteredHandler, event: DomainEvent) -> bool:
    return any(matches(key, event.routing_key) for key in handler.binding_keys)
