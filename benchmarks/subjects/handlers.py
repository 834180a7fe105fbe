"""Declaring one handler, as the decorator in a project's ``domain_events`` module does."""

from collections.abc import Callable
from typing import Any

from domain_event_broker import DomainEvent
from domain_event_broker.django.registry import RegisteredHandler, Registry

from .event import BINDING_KEY, HANDLER


def declared(function: Callable[[DomainEvent], Any], *, inbox: bool) -> RegisteredHandler:
    """The handler `function`; its queue is `HANDLER`."""
    registry = Registry()
    registry.handler(BINDING_KEY, name=HANDLER, inbox=inbox)(function)
    (handler,) = registry.handlers()
    return handler


def do_nothing(event: DomainEvent) -> None:
    pass
