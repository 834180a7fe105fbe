"""Rows of the outbox, written and looked at past the code that sends them."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import connections

from domain_event_broker.django.inserting import write_to_outbox
from domain_event_broker.django.models import OutboxEvent
from domain_event_broker.django.querysets import OutboxRow
from domain_event_broker.django.sending import outbox
from domain_event_broker.messages import Message

#: Lease times: one that outlasts any test, and one that ended before it began.
LONG, ENDED = 300.0, -1.0
DEFAULT = "default"


def message(name: str, routing_key: str = "order.placed", body: bytes = b"{}") -> Message:
    return Message(routing_key, body, message_id=name)


def put(
    *names: str, token: str = "nobody", lease_seconds: float = ENDED, using: str = DEFAULT
) -> list[int]:
    """Write a row for each name; by default it is due."""
    return write_to_outbox(
        [message(name) for name in names], token, lease_seconds, connections[using]
    )


def names_of(rows: Iterable[OutboxRow]) -> list[str | None]:
    return [row.message.message_id for row in rows]


def there(using: str = DEFAULT) -> list[str]:
    """The names of all rows, in order."""
    return list(outbox(using).order_by("pk").values_list("event_id", flat=True))


def only_row(using: str = DEFAULT) -> OutboxEvent:
    row: OutboxEvent = outbox(using).get()
    return row
