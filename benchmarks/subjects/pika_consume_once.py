"""A consumer as one writes it by hand: pika, and a transaction that notes the event's id.

It makes the same two statements as ours with the inbox: the note, and what the handler is for.
"""

import json
from typing import Any

import pika
from django.db import connection, transaction
from pika.adapters.blocking_connection import BlockingChannel

from . import accounts
from .consuming import PREFETCH, begin, end
from .event import HANDLER
from .tables import make_empty_tables

NOTE = (
    "INSERT INTO domain_event_broker_inboxentry (handler, event_id) VALUES (%s, %s) "
    "ON CONFLICT DO NOTHING"
)


def main(count: int, broker_url: str) -> None:
    make_empty_tables()
    accounts.make_empty_table()
    broker = pika.BlockingConnection(pika.URLParameters(broker_url))
    channel = broker.channel()
    channel.basic_qos(prefetch_count=PREFETCH)
    watch = begin()
    consume(channel, count)
    broker.close()
    end(watch, count)
    assert accounts.count() == count


def consume(channel: BlockingChannel, count: int) -> None:
    left = count

    def on_message(channel: BlockingChannel, method: Any, properties: Any, body: bytes) -> None:
        nonlocal left
        handle_once(json.loads(body))
        channel.basic_ack(method.delivery_tag)
        left -= 1
        if not left:
            channel.stop_consuming()

    channel.basic_consume(HANDLER, on_message)
    channel.start_consuming()


def handle_once(event: dict[str, Any]) -> None:
    with transaction.atomic():
        if is_new(event["uuid_string"]):
            accounts.insert(event["data"])


def is_new(event_id: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(NOTE, (HANDLER, event_id))
        return bool(cursor.rowcount)
