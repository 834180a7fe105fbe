"""Requeueing where handlers' queues are as 3.x made them, and where they are not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from domain_event_broker.settings import Settings
from domain_event_broker.transports.amqp import AmqpTransport
from domain_event_broker.transports.base import Outcome, Transport
from tests.conformance.harness import (
    LIMIT_SECONDS,
    Desk,
    copy,
    ids,
    message,
    subscription,
    take_all,
)

HANDLER = subscription("handler", "order.*")


@pytest.fixture
def old(broker_url: str) -> Iterator[Transport]:
    """A transport of the topology 3.x."""
    transport = AmqpTransport(Settings(url=broker_url, topology="3.x"))
    yield transport
    transport.close()


def requeue(transport: Transport, count: int = 3, handler: str = "handler") -> list[Outcome]:
    messages = [copy(message("order.placed")) for _ in range(count)]
    results = transport.requeue(handler, messages, LIMIT_SECONDS)
    return [result.outcome for result in results]


def test_a_handler_s_queue_of_3x(old: Transport) -> None:
    desk = Desk(old)
    consumer = desk.consumer(HANDLER)

    assert requeue(old) == [Outcome.CONFIRMED] * 3
    assert [each.routing_key for each in take_all(consumer, 3)] == ["order.placed"] * 3
    desk.close()


def test_a_queue_that_3x_knows_nothing_of(old: Transport, broker_url: str) -> None:
    """So there is no exchange that would keep the routing keys: the broker says so by an error."""
    new = AmqpTransport(Settings(url=broker_url))
    desk = Desk(new)
    consumer = desk.consumer(HANDLER)
    sent = [copy(message("order.placed")) for _ in range(3)]
    results = old.requeue("handler", sent, LIMIT_SECONDS)

    assert [result.outcome for result in results] == [Outcome.CONFIRMED] * 3
    assert ids(take_all(consumer, 3)) == ids(sent)
    desk.close()
    new.close()


def test_no_queue_at_all(old: Transport) -> None:
    assert requeue(old, handler="nobody") == [Outcome.UNROUTABLE] * 3
    assert requeue(old, handler="nobody") == [Outcome.UNROUTABLE] * 3


def test_what_is_published_afterwards_arrives(old: Transport) -> None:
    desk = Desk(old)
    consumer = desk.consumer(HANDLER)
    requeue(old, handler="nobody")

    assert desk.publish(message("order.placed")) == [Outcome.CONFIRMED]
    assert requeue(old, 1) == [Outcome.CONFIRMED]
    assert len(take_all(consumer, 2)) == 2
    desk.close()
