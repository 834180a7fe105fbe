"""What the parts of the suite share: messages, and patient receiving."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import uuid4

from domain_event_broker.handling import now_ms, with_headers
from domain_event_broker.messages import PREFIX, Message
from domain_event_broker.settings import Settings
from domain_event_broker.transports.base import (
    Consumer,
    Delivery,
    Outcome,
    Subscription,
    Transport,
)

#: Longer than anything here takes on a busy machine.
LIMIT_SECONDS = 30.0

#: Makes transports of one broker that is empty when the test begins; arguments are `Settings`'.
MakeTransport = Callable[..., Transport]


@contextmanager
def transports(kind: Callable[[Settings], Transport], url: str) -> Iterator[MakeTransport]:
    """A `MakeTransport` whose transports are closed at the end."""
    with ExitStack() as made:

        def make(**settings: Any) -> Transport:
            transport = kind(Settings(url=url, **settings))
            made.callback(transport.close)
            return transport

        yield make


class Desk:
    """One transport and the consumers that a test opens, all closed at the end."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._consumers: list[Consumer] = []

    def consumer(self, *subscriptions: Subscription, start: bool = True) -> Consumer:
        consumer = self.transport.consumer()
        self._consumers.append(consumer)
        for subscription in subscriptions:
            consumer.subscribe(subscription)
        if start:
            consumer.start()
        return consumer

    def publish(self, *messages: Message) -> list[Outcome]:
        return [result.outcome for result in self.transport.publish(messages, LIMIT_SECONDS)]

    def is_routable(self, routing_key: str) -> bool:
        return self.publish(message(routing_key)) == [Outcome.CONFIRMED]

    def is_gone(self, handler: str) -> bool:
        """Whether what is requeued for it is unroutable.

        RabbitMQ deletes a queue a moment after its consumer went, and 4.3 the bindings before it.
        """
        (result,) = self.transport.requeue(handler, [copy(message())], LIMIT_SECONDS)
        return result.outcome is Outcome.UNROUTABLE

    def waiting(self, *subscriptions: Subscription) -> int:
        """How many messages wait for the subscriptions, as somebody else sees it."""
        consumer = self.consumer(*subscriptions, start=False)
        count = consumer.waiting()
        consumer.close()
        return count

    def close(self) -> None:
        for consumer in self._consumers:
            consumer.close()


def subscription(name: str = "handler", *binding_keys: str, **options: Any) -> Subscription:
    return Subscription(name, binding_keys or ("#",), **options)


def message(routing_key: str = "a.b", body: bytes = b"{}", **changes: Any) -> Message:
    return Message(routing_key, body, **{"message_id": str(uuid4()), **changes})


def receive(consumer: Consumer) -> Delivery:
    """The next delivery; fails where none comes."""
    delivery = consumer.receive(LIMIT_SECONDS)
    assert delivery is not None, "no delivery came"
    return delivery


def take_all(consumer: Consumer, count: int) -> list[Message]:
    """The next `count` messages, each acknowledged before the next is asked for."""
    messages = []
    for _ in range(count):
        delivery = receive(consumer)
        consumer.ack(delivery)
        messages.append(delivery.message)
    return messages


def ids(messages: Sequence[Message]) -> list[str | None]:
    return [message.message_id for message in messages]


def foreign_headers(message: Message) -> dict[str, Any]:
    """The headers that are neither ours nor the broker's own."""
    return {
        key: value for key, value in message.headers.items() if not key.startswith((PREFIX, "x-"))
    }


def copy(original: Message, **headers: Any) -> Message:
    """What the core hands over to be stored in one queue: `original` with more headers."""
    changes = {f"{PREFIX}{key.replace('_', '-')}": value for key, value in headers.items()}
    return with_headers(original, changes, original.message_id)


def retry_in(consumer: Consumer, delivery: Delivery, milliseconds: int) -> int:
    """Retry a delivery as it is; return when it is due."""
    due_at_ms = now_ms() + milliseconds
    consumer.retry(delivery, copy(delivery.message), due_at_ms)
    return due_at_ms
