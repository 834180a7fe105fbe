"""The handlers: each notes that it starts, and has one effect."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from domain_event_broker import DomainEvent
from domain_event_broker.django import domain_event_handler

from ..plans import HANDLERS, HANDLERS_OF
from .configuration import project
from .models import Effect


class NotReady(Exception):
    """What each handler raises while it fails."""


def has_had_effect() -> None:
    """Called at the end of each handler, when its transaction is about to be committed."""


def handler(name: str) -> Callable[[DomainEvent], None]:
    def handle(event: DomainEvent) -> None:
        project.LEDGERS.starts.write(handler=name, event=event.uuid_string)
        if (name, event.uuid_string) in project.POISONS:
            os.kill(os.getpid(), signal.SIGKILL)
        Effect.objects.create(handler=name, event_id=event.uuid_string)
        has_had_effect()

    return handle


def keys_of(name: str) -> list[str]:
    """The routing keys of the events that the handler is for."""
    return [key for key, handlers in HANDLERS_OF.items() if name in handlers]


for each in HANDLERS:
    domain_event_handler(*keys_of(each), name=each, inbox=project.INBOX)(handler(each))
