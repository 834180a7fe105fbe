"""How often a consumer asks what its queues hold: that costs something for each of them."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from domain_event_broker.django.transport.due import DueQueues
from domain_event_broker.handling import now_ms
from tests.conformance.harness import Desk, copy, message, receive, subscription
from tests.django.marks import both_databases

pytestmark = both_databases


@pytest.mark.usefixtures("patient")
def test_once_while_there_is_enough_in_them(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    subscriptions = [subscription(f"handler.{n}", f"order.{n}") for n in range(5)]
    consumer = desk.consumer(*subscriptions)
    ask_about = DueQueues.ask_about
    looks: list[int] = []

    def ask_and_count(due: DueQueues, queues: Collection[int], within_seconds: float) -> None:
        looks.append(len(queues))
        ask_about(due, queues, within_seconds)

    monkeypatch.setattr(DueQueues, "ask_about", ask_and_count)
    desk.publish(*(message(f"order.{n % 5}") for n in range(100)))
    for _ in range(100):
        consumer.ack(receive(consumer))

    assert looks == [5]
    assert consumer.receive(0.0) is None
    assert looks == [5, 5]


@pytest.mark.usefixtures("patient")
class TestWhatIsDueLater:
    """Beside what was due: the first of a queue says nothing of the second."""

    def test_of_the_queue_that_was_claimed_from(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription(retries=True))
        desk.publish(message(), message())
        first, second = receive(consumer), receive(consumer)
        consumer.retry(second, copy(second.message), now_ms())
        consumer.retry(first, copy(first.message), now_ms() + 600)
        consumer.ack(receive(consumer))

        assert receive(consumer).message.message_id == first.message.message_id

    def test_of_another_one(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription("one", retries=True), subscription("two"))
        desk.publish(message())
        one, two = sorted(
            (receive(consumer), receive(consumer)), key=lambda each: each.subscription.name
        )
        consumer.retry(one, copy(one.message), now_ms() + 600)
        consumer.ack(two)

        assert receive(consumer).message.message_id == one.message.message_id
