"""Queues that go with their consumers: exclusive ones, and those with auto-delete."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any

import pytest

from domain_event_broker.django.dialects import FromNow
from domain_event_broker.django.models import Binding, Queue, QueuedMessage
from domain_event_broker.django.pruning import prune
from domain_event_broker.django.transport.consumer import DatabaseConsumer
from domain_event_broker.errors import TopologyMismatch
from domain_event_broker.transports.base import Consumer, Outcome
from tests.conformance.harness import Desk, ids, message, subscription, take_all
from tests.django.marks import both_databases
from tests.django.rows import ENDED
from tests.support.waiting import wait_until

pytestmark = both_databases

each_kind = pytest.mark.parametrize(
    "options", [{"exclusive": True}, {"auto_delete": True}], ids=["exclusive", "auto-delete"]
)


def kill(consumer: Consumer) -> None:
    """It ends as a killed process does, without a word, and that was a while ago."""
    assert isinstance(consumer, DatabaseConsumer)
    consumer._keeper._finish = lambda: None
    consumer._keeper.stop(30)
    consumer._is_closed = True
    queues = Queue.objects.filter(pk__in=consumer._passing)
    assert queues.update(expires_at=FromNow(ENDED)) == 1


def renewed(last: datetime | None) -> datetime | None:
    """When the queue expires by now, if it is not as it was."""
    expires_at: datetime | None = Queue.objects.get().expires_at
    return expires_at if expires_at != last else None


@each_kind
def test_one_lives_as_long_as_its_consumer(short_lease_desk: Desk, options: dict[str, Any]) -> None:
    desk = short_lease_desk
    consumer = desk.consumer(subscription(dead_letter=False, **options), start=False)
    last = renewed(None)
    for _ in range(4):  # which is longer than one lease
        last = wait_until(partial(renewed, last))
    assert desk.publish(message()) == [Outcome.CONFIRMED]
    consumer.close()

    assert desk.publish(message()) == [Outcome.UNROUTABLE]
    for model in (Queue, Binding, QueuedMessage):
        assert not model.objects.exists()


@each_kind
def test_one_whose_consumer_died_gets_no_events(desk: Desk, options: dict[str, Any]) -> None:
    desk.consumer(subscription("lasting")).close()
    kill(desk.consumer(subscription(**options), start=False))

    assert desk.publish(message()) == [Outcome.CONFIRMED]
    waiting = QueuedMessage.objects.values_list("queue__name", flat=True)
    assert list(waiting) == ["lasting"]


class TestHeirs:
    """Whoever comes after a consumer that died."""

    @each_kind
    def test_gets_a_new_and_empty_queue(self, desk: Desk, options: dict[str, Any]) -> None:
        late = desk.consumer(subscription("handler", "old.*", **options), start=False)
        desk.publish(message("old.a"))
        kill(late)
        heir = desk.consumer(subscription("handler", "new.*", **options))

        assert heir.waiting() == 0
        assert desk.publish(message("old.a"), message("new.a")) == [
            Outcome.UNROUTABLE,
            Outcome.CONFIRMED,
        ]

    def test_may_want_another_kind(self, desk: Desk) -> None:
        late = desk.consumer(subscription(exclusive=True), start=False)
        with pytest.raises(TopologyMismatch):
            desk.consumer(subscription(auto_delete=True), start=False)
        kill(late)
        heir = desk.consumer(subscription(auto_delete=True))
        sent = message()
        desk.publish(sent)

        assert ids(take_all(heir, 1)) == [sent.message_id]


class TestPruning:
    def test_it_removes_those_whose_consumers_died(self, desk: Desk) -> None:
        desk.consumer(subscription("lasting", dead_letter=False), start=False)
        passing = {"exclusive": True, "dead_letter": False}
        desk.consumer(subscription("alive", **passing), start=False)
        late = desk.consumer(subscription("dead", **passing), start=False)
        desk.publish(message())
        kill(late)
        pruned = prune("default", 45)

        assert pruned.queues == 1
        assert sorted(Queue.objects.values_list("name", flat=True)) == ["alive", "lasting"]
        assert QueuedMessage.objects.count() == 2
