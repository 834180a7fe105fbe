"""Dead letters: in their queue, as whoever failed left them there, and in the table."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

from domain_event_broker import DomainEvent
from domain_event_broker.django import conf, dead_letters
from domain_event_broker.django.dead_letters.stories import to_row
from domain_event_broker.django.models import DeadLetter
from domain_event_broker.django.transactions import dead_letter_alias
from domain_event_broker.errors import UnknownQueue
from domain_event_broker.handling import now_ms
from domain_event_broker.messages import Message
from domain_event_broker.names import dead_letter_queue
from domain_event_broker.transports import transport_for
from domain_event_broker.transports.base import Outcome, Subscription, Transport

LIMIT_SECONDS = 30.0
_numbers = count(1)


def transport() -> Transport:
    """The project's."""
    return transport_for(conf.required())


def declare(handler: str = "bill", *binding_keys: str) -> None:
    """The handler's queue and that of its dead letters, as if it had run."""
    consumer = transport().consumer()
    consumer.subscribe(Subscription(handler, binding_keys or ("order.*",)))
    consumer.close()


def letter(event_id: str = "a", *, routing_key: str = "order.placed", **story: Any) -> Message:
    """What a handler of ours leaves behind; arguments are headers, without ``deb_``."""
    told = {
        "dead_letter_id": f"failure-{next(_numbers)}",
        "reason": "error",
        "error_type": "shop.errors.Bad",
        "error_message": "not yet",
        "error_place": "shop/orders.py:12 in bill",
        "error_traceback": "Traceback\n  in bill\nshop.errors.Bad: not yet\n",
        "handler": "bill",
        "attempts": 1,
        "first_failed_at_ms": now_ms() - 1000,
        "failed_at_ms": now_ms(),
        "host": "web-1",
        "process_id": 7,
        "routing_key": routing_key,
        **story,
    }
    headers = {f"deb-{name.replace('_', '-')}": value for name, value in told.items()}
    return foreign(event_id, routing_key=routing_key, headers=headers)


def foreign(event_id: str = "a", *, routing_key: str = "order.placed", **changes: Any) -> Message:
    """What another program dead-lettered."""
    fields = {"message_id": event_id, "body": body_of(event_id, routing_key), **changes}
    return Message(routing_key, **fields)


def body_of(event_id: str, routing_key: str = "order.placed", data: Any = None) -> bytes:
    event = DomainEvent(routing_key, data or {"number": 1}, None, event_id, 1.0)
    return json.dumps(event.event_data).encode()


def put(*messages: Message, handler: str = "bill") -> None:
    """Into the handler's queue of dead letters."""
    results = transport().requeue(dead_letter_queue(handler), messages, LIMIT_SECONDS)
    assert {result.outcome for result in results} <= {Outcome.CONFIRMED}


def in_queue(handler: str = "bill") -> int:
    """How many dead letters are in the handler's queue of them."""
    try:
        with transport().dead_letters(handler) as box:
            return box.count()
    except UnknownQueue:
        return 0


def store(*messages: Message, handler: str = "bill") -> list[int]:
    """Rows, as if they had been collected; return their ids."""
    alias = dead_letter_alias()
    rows = [to_row(handler, message, alias) for message in messages]
    for row in rows:
        row.save(using=alias)
    return [row.pk for row in rows]


def collect(handler: str = "bill") -> int:
    return dead_letters.collect(handler, conf.required())


def rows() -> list[DeadLetter]:
    """All, in whatever state."""
    return list(DeadLetter.objects.using(dead_letter_alias()).order_by("pk"))


def only_row() -> DeadLetter:
    (row,) = rows()
    return row


def states() -> dict[str, str]:
    return {row.event_id: row.state for row in rows()}


def waiting(**selection: Any) -> list[str]:
    """The ids of the events that are selected, in order."""
    selected = dead_letters.waiting(dead_letters.Selection(**selection))
    return [row.event_id for row in selected]


def delivered(handler: str = "bill", count: int = 1) -> list[Message]:
    """So many messages of the handler's queue, and no more of them."""
    consumer = transport().consumer()
    consumer.subscribe(Subscription(handler, ("order.*",)))
    consumer.start()
    messages: list[Message] = []
    try:
        while len(messages) < count:
            delivery = consumer.receive(LIMIT_SECONDS)
            assert delivery is not None, f"{len(messages)} of {count} came"
            consumer.ack(delivery)
            messages.append(delivery.message)
        assert consumer.waiting() == 0
        consumer.flush(LIMIT_SECONDS)
    finally:
        consumer.close()
    return messages
