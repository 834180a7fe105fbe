"""Broken on purpose, to see that the oracle notices."""

from __future__ import annotations

from functools import partialmethod
from typing import Any

from pika.channel import Channel

from domain_event_broker.django.transport.consumer import DatabaseConsumer
from domain_event_broker.transports.amqp.batches import Pending
from domain_event_broker.transports.amqp.moving import Moves
from domain_event_broker.transports.amqp.publisher import Publisher
from domain_event_broker.transports.amqp.subscription import SubscriptionChannel
from domain_event_broker.transports.base import Delivery, Outcome, PublishResult

FLUSH_SECONDS = 30.0


def ack_first() -> None:
    """Have events acknowledged before they are handled, on RabbitMQ by the broker itself."""
    Channel.basic_consume = partialmethod(Channel.basic_consume, auto_ack=True)
    SubscriptionChannel.flush = lambda self: None  # type: ignore[method-assign]
    receive = DatabaseConsumer.receive

    def receive_acked(self: DatabaseConsumer, *arguments: Any) -> Any:
        delivery = receive(self, *arguments)
        if delivery is not None:
            self.ack(delivery)
            self.flush(FLUSH_SECONDS)
        return delivery

    DatabaseConsumer.receive = receive_acked  # type: ignore[method-assign, assignment]


def ack_before_copying() -> None:
    """Have what is retried or dead-lettered acknowledged before its copy is published."""
    begin = Moves.begin

    def begin_acked(self: Moves, delivery: Delivery, *arguments: Any) -> None:
        channel: SubscriptionChannel = delivery.token[0]
        channel.settle(delivery)
        begin(self, delivery, *arguments)

    Moves.begin = begin_acked  # type: ignore[method-assign, assignment]


def publish_without_confirms() -> None:
    """Have what was written taken for confirmed."""
    write = Publisher._write

    def write_confirmed(self: Publisher, pending: Pending) -> None:
        write(self, pending)
        pending.end(PublishResult(Outcome.CONFIRMED))

    Publisher._write = write_confirmed  # type: ignore[method-assign]
