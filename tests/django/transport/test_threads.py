"""Several threads on one consumer of the database: what is claimed for whom, and stored by whom."""

from __future__ import annotations

import time
from collections import deque

import pytest

from domain_event_broker.django.models import QueuedMessage
from domain_event_broker.django.transport import batches
from domain_event_broker.django.transport.consumer import DatabaseConsumer
from domain_event_broker.transports.base import Consumer, Delivery
from domain_event_broker.turns import SideBySide
from tests.conformance.harness import LIMIT_SECONDS, Desk, message, receive, subscription, take_all
from tests.django.marks import both_databases
from tests.support.threads import start_thread
from tests.support.waiting import wait_until

pytestmark = both_databases


def of_the_database(consumer: Consumer) -> DatabaseConsumer:
    assert isinstance(consumer, DatabaseConsumer)
    return consumer


class Waiting:
    """Somebody who waits for the next delivery, which they have no room for while it is `full`."""

    def __init__(self, consumer: DatabaseConsumer) -> None:
        self.full = {"handler"}
        self.received: list[Delivery | None] = []
        self._thread = start_thread(
            lambda: self.received.append(consumer.receive(2 * LIMIT_SECONDS, self.full))
        )
        wait_until(lambda: consumer._idle)

    def end(self) -> list[Delivery | None]:
        self._thread.join(LIMIT_SECONDS)
        return self.received


class TestSharing:
    def test_what_there_is_no_room_for_is_left_to_others(self, desk: Desk) -> None:
        """However quickly the rest goes: only the claim of what has room fetches more."""
        consumer = desk.consumer(subscription("slow", "slow"), subscription("quick", "quick"))
        desk.publish(*(message("slow") for _ in range(20)))
        desk.publish(*(message("quick") for _ in range(50)))
        turns = SideBySide(consumer, lambda: None)
        delivery = turns.take(LIMIT_SECONDS)
        taken = []
        while delivery is not None:
            taken.append(delivery.subscription.name)
            if delivery.subscription.name == "quick":
                consumer.ack(delivery)
                turns.end(delivery)
            delivery = turns.take(0.3)

        assert taken.count("slow") == 1
        assert taken.count("quick") == 50
        assert desk.waiting(subscription("slow", "slow")) == 19
        turns.stop()

    def test_a_slow_handler_s_batch_grows_by_no_other_s_speed(self, desk: Desk) -> None:
        slow, quick = subscription("slow", "slow"), subscription("quick", "quick")
        consumer = desk.consumer(slow, quick)
        desk.publish(*(message("slow") for _ in range(20)))
        desk.publish(*(message("quick") for _ in range(20)))
        held: list[Delivery] = []
        while desk.waiting(quick):
            delivery = receive(consumer)
            (held.append if delivery.subscription == slow else consumer.ack)(delivery)

        assert len(held) < 20
        assert desk.waiting(slow) == 20 - len(held)

    def test_a_batch_does_not_grow_while_the_last_one_is_being_handled(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Those of several threads that come first want more than is to be had for others."""
        monkeypatch.setattr(batches, "_BATCH_SECONDS", 3600.0)
        consumer = of_the_database(desk.consumer(subscription(concurrency=8)))
        desk.publish(*(message() for _ in range(10)))
        taken = [receive(consumer) for _ in range(4)]
        assert desk.waiting(subscription()) == 6
        for delivery in taken:
            consumer.ack(delivery)
        taken = [receive(consumer) for _ in range(3)]

        assert desk.waiting(subscription()) == 2


@pytest.mark.usefixtures("patient")
class TestWaking:
    def test_who_waits_looks_again_when_there_is_room(self, desk: Desk) -> None:
        consumer = of_the_database(desk.consumer(subscription()))
        waiting = Waiting(consumer)
        sent = message()
        desk.publish(sent)  # which wakes, in vain
        wait_until(lambda: consumer._idle)
        assert desk.waiting(subscription()) == 1
        waiting.full.clear()
        consumer.look_again()

        assert [each.message.message_id for each in waiting.end() if each] == [sent.message_id]

    def test_who_waits_stores_what_another_acknowledges(self, desk: Desk) -> None:
        consumer = of_the_database(desk.consumer(subscription()))
        desk.publish(message())
        delivery = receive(consumer)
        consumer._keeper._renew = lambda: None  # would store it with its next look
        waiting = Waiting(consumer)
        consumer.ack(delivery)
        # Before the lease of what is held ends, which is when it looks by itself.
        wait_until(lambda: not QueuedMessage.objects.exists(), 10)
        consumer.stop()

        assert waiting.end() == [None]


class TestHolding:
    def test_until_it_is_acknowledged(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription())
        desk.publish(message())
        delivery = receive(consumer)
        assert consumer.holds(delivery)
        consumer.ack(delivery)

        assert not consumer.holds(delivery)

    def test_no_longer_than_its_lease(self, desk: Desk) -> None:
        """As after a process was suspended: others may have it by now."""
        consumer = of_the_database(desk.consumer(subscription()))
        desk.publish(message())
        delivery = receive(consumer)
        consumer._leases[delivery.token] = time.monotonic()

        assert not consumer.holds(delivery)

    def test_while_the_lease_is_renewed(self, desk: Desk) -> None:
        consumer = of_the_database(desk.consumer(subscription()))
        desk.publish(message())
        delivery = receive(consumer)
        consumer._leases[delivery.token] = time.monotonic()
        consumer._keeper.kick()

        wait_until(lambda: consumer.holds(delivery), LIMIT_SECONDS)


class TestStopping:
    def test_who_gives_back_then_does_not_wait_for_the_database(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        consumer = of_the_database(desk.consumer(subscription()))
        sent = [message() for _ in range(3)]
        desk.publish(*sent)
        taken = [receive(consumer) for _ in sent]
        consumer.stop()

        def settle() -> None:
            raise AssertionError("in this thread")

        monkeypatch.setattr(consumer, "_settle_now", settle)
        for delivery in taken:
            consumer.release(delivery)
        assert consumer.flush(LIMIT_SECONDS)

        assert desk.waiting(subscription()) == 3

    def test_who_takes_the_last_one_at_that_moment_ends_nothing(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Contested(deque[Delivery]):
            """Another thread is always quicker."""

            def popleft(self) -> Delivery:
                self.clear()
                return super().popleft()

        monkeypatch.setattr(batches, "_BATCH_SECONDS", 3600.0)
        consumer = of_the_database(desk.consumer(subscription()))
        desk.publish(*(message() for _ in range(7)))
        take_all(consumer, 3)  # the next batch is larger than one
        receive(consumer)
        assert consumer._buffer
        consumer._buffer = Contested(consumer._buffer)
        consumer.stop()

        assert not consumer._is_started
