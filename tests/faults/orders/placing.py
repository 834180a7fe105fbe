"""Placing orders: one transaction each, with its events, and with notes around it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from uuid import uuid4

from django.db import transaction

from domain_event_broker import publish_domain_event

from ..plans import Transaction
from .configuration import project
from .models import Order

Events = Sequence[tuple[str, str]]


class RolledBack(Exception):
    """Raised to have a transaction, or a savepoint, rolled back."""


def place(order: Transaction) -> None:
    """Carry out the transaction. Raises the database's errors."""
    events = [(str(uuid4()), key) for key in order.keys]
    kept = events[: len(order.kept)]
    project.LEDGERS.attempts.write(events=[event_id for event_id, _ in events])
    with suppress(RolledBack), transaction.atomic():
        _write(events[: len(events) - order.undone])
        with suppress(RolledBack), transaction.atomic():
            _write(events[len(events) - order.undone :])
            raise RolledBack
        if not order.commits:
            raise RolledBack
    project.LEDGERS.commits.write(events=[event_id for event_id, _ in kept])


def _write(events: Events) -> None:
    for event_id, key in events:
        Order.objects.create(event_id=event_id, routing_key=key)
        if project.PUBLISHED_AT_ONCE:
            broker = project.DOMAIN_EVENT_BROKER
            publish_domain_event(key, {}, uuid_string=event_id, connection_settings=broker)
        else:
            publish_domain_event(key, {}, uuid_string=event_id)
