"""Broken on purpose, to see that the oracle notices."""

from __future__ import annotations

from functools import partialmethod
from typing import Any

from pika.channel import Channel

from domain_event_broker.django.transport.consumer import DatabaseConsumer
from domain_event_broker.transports.amqp.subscription import SubscriptionChannel

FLUSH_SECONDS = 30.0


def ack_first() -> None:
    """Have events acknowledged before they are handled, on RabbitMQ by the broker itself."""
    Channel.basic_consume = partialmethod(Channel.basic_consume, auto_ack=True)
    SubscriptionChannel.flush = lambda self: None  # type: ignore[method-assign]
    receive = DatabaseConsumer.receive

    def receive_acked(self: DatabaseConsumer, timeout_seconds: float) -> Any:
        delivery = receive(self, timeout_seconds)
        if delivery is not None:
            self.ack(delivery)
            self.flush(FLUSH_SECONDS)
        return delivery

    DatabaseConsumer.receive = receive_acked  # type: ignore[method-assign]
