"""How often a consumer asks what its queues hold: that costs something for each of them."""

from __future__ import annotations

import pytest

from domain_event_broker.django.transport.consumer import DatabaseConsumer
from tests.conformance.harness import Desk, message, receive, subscription
from tests.django.marks import both_databases

pytestmark = both_databases


@pytest.mark.usefixtures("patient")
def test_once_while_there_is_enough_in_them(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    subscriptions = [subscription(f"handler.{n}", f"order.{n}") for n in range(5)]
    consumer = desk.consumer(*subscriptions)
    assert isinstance(consumer, DatabaseConsumer)
    look = consumer._look
    looks: list[None] = []
    monkeypatch.setattr(consumer, "_look", lambda: looks.append(look()))
    desk.publish(*(message(f"order.{n % 5}") for n in range(100)))
    for _ in range(100):
        consumer.ack(receive(consumer))

    assert len(looks) == 1
    assert consumer.receive(0.0) is None
    assert len(looks) == 2
