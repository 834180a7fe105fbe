"""pika's `BlockingConnection`, with a handler that reads the body's JSON and does nothing.

With `worker`, the handler runs in a thread of its own, as pika's documentation has it for handlers
that take long: that thread has the connection's thread acknowledge. Otherwise it runs inline, and
the broker drops the connection of a handler that takes longer than two heartbeats.
"""

import json
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel

from .consuming import PREFETCH, begin, end
from .event import HANDLER

Delivery = tuple[int, bytes]


def main(count: int, broker_url: str, worker: bool) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(broker_url))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=PREFETCH)
    watch = begin()
    consume = consume_by_worker if worker else consume_inline
    consume(channel, count)
    connection.close()
    end(watch, count)


def consume_inline(channel: BlockingChannel, count: int) -> None:
    left = count

    def on_message(channel: BlockingChannel, method: Any, properties: Any, body: bytes) -> None:
        nonlocal left
        json.loads(body)
        channel.basic_ack(method.delivery_tag)
        left -= 1
        if not left:
            channel.stop_consuming()

    channel.basic_consume(HANDLER, on_message)
    channel.start_consuming()


def consume_by_worker(channel: BlockingChannel, count: int) -> None:
    deliveries: SimpleQueue[Delivery] = SimpleQueue()

    def on_message(channel: BlockingChannel, method: Any, properties: Any, body: bytes) -> None:
        deliveries.put((method.delivery_tag, body))

    thread = Thread(target=work, args=(channel, deliveries, count))
    thread.start()
    channel.basic_consume(HANDLER, on_message)
    channel.start_consuming()
    thread.join()


def work(channel: BlockingChannel, deliveries: SimpleQueue[Delivery], count: int) -> None:
    for _ in range(count):
        tag, body = deliveries.get()
        json.loads(body)
        channel.connection.add_callback_threadsafe(partial(channel.basic_ack, tag))
    channel.connection.add_callback_threadsafe(channel.stop_consuming)
