"""The handlers: each notes that it starts, and has one effect."""

from __future__ import annotations

from collections.abc import Callable

from domain_event_broker import DomainEvent
from domain_event_broker.django import domain_event_handler

from ..plans import HANDLERS, HANDLERS_OF
from .configuration import project
from .models import Effect


def has_had_effect() -> None:
    """Called at the end of each handler, when its transaction is about to be committed."""


def handler(name: str) -> Callable[[DomainEvent], None]:
    def handle(event: DomainEvent) -> None:
        project.LEDGERS.starts.write(handler=name, event=event.uuid_string)
        Effect.objects.create(handler=name, event_id=event.uuid_string)
        has_had_effect()

    return handle


for each in HANDLERS:
    keys = [key for key, handlers in HANDLERS_OF.items() if each in handlers]
    domain_event_handler(*keys, name=each, inbox=project.INBOX)(handler(each))
