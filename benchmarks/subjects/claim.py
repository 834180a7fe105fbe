"""Claims from the outbox, or from a queue of the database transport, while so many rows wait.

The rows are copies of one real row (PostgreSQL only). What is claimed is given back, to the end.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from django.db import transaction

from domain_event_broker import Subscriber, publish_domain_event
from domain_event_broker.django.leases import new_token
from domain_event_broker.django.models import OutboxEvent, Queue, QueuedMessage

from .copying import copy_the_row
from .event import BINDING_KEY, HANDLER, ROUTING_KEY, USER_ID, data
from .handlers import do_nothing
from .outbox import send_nothing
from .output import tell
from .tables import analyse_tables, make_empty_tables

LEASE_SECONDS = 60.0
LIMIT = 100
TIMES = 50


def main(waiting: int, kind: str) -> None:
    make_empty_tables()
    send_nothing()
    rows, claim = KINDS[kind]()
    rows.all().give_back()
    copy_the_row(rows.model, waiting - 1)
    analyse_tables()
    tell(seconds=statistics.median(claim_seconds(rows, claim) for _ in range(TIMES)), rows=LIMIT)


def claim_seconds(rows: Any, claim: Callable[[str], Sequence[Any]]) -> float:
    token = new_token()
    began = time.perf_counter()
    claimed = claim(token)
    seconds = time.perf_counter() - began
    assert len(claimed) == LIMIT, len(claimed)
    rows.held_by(token, [row.id for row in claimed]).give_back()
    return seconds


def outbox() -> tuple[Any, Callable[[str], Sequence[Any]]]:
    publish_one()
    rows = OutboxEvent.objects
    return rows, lambda token: rows.claim(LIMIT, token, LEASE_SECONDS)


def queue() -> tuple[Any, Callable[[str], Sequence[Any]]]:
    subscriber = Subscriber()
    subscriber.register(do_nothing, HANDLER, [BINDING_KEY])
    subscriber.disconnect()
    publish_one()
    rows, queue_id = QueuedMessage.objects, Queue.objects.get(name=HANDLER).pk
    return rows, lambda token: rows.claim(queue_id, LIMIT, token, LEASE_SECONDS)


def publish_one() -> None:
    with transaction.atomic():
        publish_domain_event(ROUTING_KEY, data(), domain_object_id=str(USER_ID))


KINDS = {"outbox": outbox, "queue": queue}
