"""The handlers: each notes that it starts, and has one effect."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable
from uuid import uuid4

from domain_event_broker import DomainEvent, Retry, publish_domain_event
from domain_event_broker.django import domain_event_handler

from ..plans import HANDLERS, HANDLERS_OF
from .configuration import project
from .models import Effect, Order

RETRY_SECONDS = 0.1
POLL_SECONDS = 0.02


class NotReady(Exception):
    """What each handler raises while it fails."""


def has_had_effect() -> None:
    """Called at the end of each handler, when its transaction is about to be committed."""
    while project.HELD.exists():
        time.sleep(POLL_SECONDS)


def end_the_process() -> None:
    if project.ARE_POISONS_SEGFAULTS:
        ctypes.string_at(0)
    os.kill(os.getpid(), signal.SIGKILL)


def order_again() -> None:
    """Place an order in the handler's transaction."""
    identity = str(uuid4())
    project.LEDGERS.attempts.write(events=[identity])
    Order.objects.create(event_id=identity, routing_key="order.one")
    publish_domain_event("order.one", {}, uuid_string=identity)


def handler(name: str) -> Callable[[DomainEvent], None]:
    def handle(event: DomainEvent) -> None:
        identity = event.uuid_string
        project.LEDGERS.starts.write(handler=name, event=identity, retries=event.retries)
        if (name, identity) in project.POISONS:
            end_the_process()
        if project.FAILS:
            raise NotReady("not yet")
        if event.retries < project.RETRIES:
            raise Retry(RETRY_SECONDS)
        time.sleep(first_seconds.pop(name, 0))
        Effect.objects.create(handler=name, event_id=identity)
        if event.routing_key == "order.three" and project.IS_ORDERING_AGAIN:
            order_again()
        has_had_effect()

    return handle


#: How long each handler still has to take for its first event.
first_seconds = dict(project.HANDLING_SECONDS)


def keys_of(name: str) -> list[str]:
    """The routing keys of the events that the handler is for."""
    return [key for key, handlers in HANDLERS_OF.items() if name in handlers]


max_retries = project.RETRIES if project.MAX_RETRIES is None else project.MAX_RETRIES
for each in HANDLERS:
    domain_event_handler(*keys_of(each), name=each, inbox=project.INBOX, max_retries=max_retries)(
        handler(each)
    )
