"""A plain AMQP client: sees and sends what is on the wire, without our own code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel


@dataclass(frozen=True)
class RawMessage:
    """One message as the broker handed it out."""

    exchange: str
    routing_key: str
    properties: pika.BasicProperties
    body: bytes

    @property
    def headers(self) -> dict[str, Any]:
        return self.properties.headers or {}


@contextmanager
def raw_channel(url: str) -> Iterator[BlockingChannel]:
    """A channel in confirm mode, on a connection of its own."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        yield channel


def bind_queue(url: str, queue: str, *keys: str, exchange: str = "domain-events") -> None:
    """Declare a durable queue and bind it to the exchange, which is declared as 3.x does."""
    with raw_channel(url) as channel:
        channel.exchange_declare(exchange, exchange_type="topic", durable=True)
        channel.queue_declare(queue, durable=True)
        for key in keys:
            channel.queue_bind(queue, exchange, routing_key=key)


def send(
    url: str,
    exchange: str,
    routing_key: str,
    body: bytes,
    properties: pika.BasicProperties | None = None,
) -> None:
    """Publish one message; fails if no queue is bound for it."""
    with raw_channel(url) as channel:
        channel.basic_publish(exchange, routing_key, body, properties, mandatory=True)


def take_all(url: str, queue: str) -> list[RawMessage]:
    """Remove all that is ready in `queue`, and return it in order."""
    taken: list[RawMessage] = []
    with raw_channel(url) as channel:
        while True:
            method, properties, body = channel.basic_get(queue, auto_ack=True)
            if method is None:
                return taken
            taken.append(RawMessage(method.exchange, method.routing_key, properties, body))


def take_one(url: str, queue: str) -> RawMessage:
    """Remove the one message that is there."""
    (message,) = take_all(url, queue)
    return message


def ready_count(url: str, queue: str) -> int:
    """Return how many messages are ready in `queue`, exactly and at this moment."""
    with raw_channel(url) as channel:
        return int(channel.queue_declare(queue, passive=True).method.message_count)
