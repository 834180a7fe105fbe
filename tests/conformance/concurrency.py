"""Several handlers at once: as many as are allowed, in order where one is, and all are settled."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections

from domain_event_broker import DomainEvent, Retry, Subscriber
from domain_event_broker.encoding import decode, encode
from domain_event_broker.handling import Ending, NotNow, Report
from tests.support.threads import start_thread
from tests.support.waiting import wait_until

from .harness import LIMIT_SECONDS, Desk, MakeTransport, message, receive, subscription

Handler = Callable[[DomainEvent], Any]


class Work:
    """A subscriber on the broker of a desk, and what its handlers did."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.reports: list[Report] = []
        self._subscriber = Subscriber(
            desk.transport.settings,
            on_report=self.reports.append,
            on_worker_end=connections.close_all,
        )

    def handler(self, handler: Handler, name: str = "handler", **options: Any) -> None:
        self._subscriber.register(handler, name, [name], **options)

    def publish(self, *numbers: int, name: str = "handler") -> None:
        events = [DomainEvent(name, number) for number in numbers]
        messages = [encode(event, app_id=None, max_event_bytes=1_000) for event in events]
        self._desk.publish(*messages)

    def drain(self, **options: Any) -> None:
        self._subscriber.start_consuming(LIMIT_SECONDS, drain=True, **options)

    @contextmanager
    def running(self, **options: Any) -> Iterator[threading.Thread]:
        """Handle events as long as the block runs, or until it is stopped there."""
        thread = start_thread(lambda: self._subscriber.start_consuming(**options))
        try:
            yield thread
        finally:
            self.stop()
            thread.join(LIMIT_SECONDS)
            assert not thread.is_alive()

    def stop(self) -> None:
        self._subscriber.stop_consuming()

    def endings(self) -> Counter[Ending]:
        return Counter(report.ending for report in self.reports)

    def wait_for(self, count: int) -> None:
        wait_until(lambda: len(self.reports) >= count, LIMIT_SECONDS, lambda: f"{self.endings()}")


class Concurrency:
    def test_as_many_at_once_as_a_handler_allows(self, desk: Desk) -> None:
        together = threading.Barrier(5)

        def handle(event: DomainEvent) -> None:
            if event.data:  # the first one may go alone, to show that it ends no process
                together.wait(LIMIT_SECONDS)

        work = Work(desk)
        work.handler(handle, concurrency=5)
        work.publish(*range(11))
        work.drain()

        assert work.endings() == {Ending.HANDLED: 11}

    def test_also_where_fewer_are_prefetched(self, make_transport: MakeTransport) -> None:
        desk = Desk(make_transport(prefetch=1))
        together = threading.Barrier(3)
        work = Work(desk)
        work.handler(lambda event: event.data and together.wait(LIMIT_SECONDS), concurrency=3)
        work.publish(*range(7))
        work.drain()

        assert work.endings() == {Ending.HANDLED: 7}

    def test_in_order_where_one_is_allowed(self, desk: Desk) -> None:
        handled: list[int] = []
        work = Work(desk)
        work.handler(lambda event: handled.append(event.data))
        work.publish(*range(150))
        work.drain(threads=4)

        assert handled == list(range(150))

    def test_a_slow_handler_holds_up_no_other(self, make_transport: MakeTransport) -> None:
        """However much waits for it: more than it prefetches."""
        desk = Desk(make_transport(prefetch=5))
        slow: list[int] = []
        quick: list[int] = []
        may_end = threading.Event()

        def hold(event: DomainEvent) -> None:
            slow.append(event.data)
            assert may_end.wait(LIMIT_SECONDS)

        work = Work(desk)
        work.handler(hold, "slow")
        work.handler(lambda event: quick.append(event.data), "quick")
        work.publish(*range(20), name="slow")
        with work.running(threads=2):
            wait_until(lambda: slow, LIMIT_SECONDS)
            work.publish(*range(100), name="quick")
            wait_until(lambda: len(quick) == 100, LIMIT_SECONDS)
            assert slow == [0]
            may_end.set()
            work.wait_for(120)

        assert slow == list(range(20))
        assert quick == list(range(100))

    def test_whatever_becomes_of_them_they_are_settled_each(self, desk: Desk) -> None:
        """Threads acknowledge, retry, dead-letter and give back beside each other."""
        attempts: Counter[int] = Counter()
        lock = threading.Lock()

        def handle(event: DomainEvent) -> None:
            with lock:
                attempts[event.data] += 1
                is_first = attempts[event.data] == 1
            if event.data % 4 == 1 and is_first:
                raise Retry(0)
            if event.data % 4 == 2 and is_first:
                raise NotNow
            if event.data % 4 == 3:
                raise ValueError(event.data)

        work = Work(desk)
        work.handler(handle, concurrency=6, max_retries=1)
        work.publish(*range(80))
        with work.running():
            work.wait_for(120)

        assert work.endings() == {
            Ending.HANDLED: 60,
            Ending.RETRIED: 20,
            Ending.RELEASED: 20,
            Ending.DEAD_LETTERED: 20,
        }
        assert set(attempts) == set(range(80))
        assert desk.waiting(subscription("handler", "handler", retries=True)) == 0
        with desk.transport.dead_letters("handler") as box:
            failed = [decode(letter.message).data for letter in box.take(100)]
        assert sorted(failed) == list(range(3, 80, 4))

    def test_what_was_not_begun_at_a_stop_waits_for_the_next(self, desk: Desk) -> None:
        begun: list[int] = []
        may_end = threading.Event()

        def hold(event: DomainEvent) -> None:
            begun.append(event.data)
            assert may_end.wait(LIMIT_SECONDS)

        work = Work(desk)
        work.handler(hold, "held", concurrency=2)
        work.handler(hold, "other")
        for name in ("held", "other"):
            work.publish(*range(30), name=name)
        with work.running(threads=4):
            # Two, or one where the first goes alone; and one of the other.
            wait_until(lambda: len(begun) >= 2, LIMIT_SECONDS)
            work.stop()
            may_end.set()
        before = len(work.reports)
        work.drain()

        assert 2 <= before < 60
        assert work.endings() == {Ending.HANDLED: 60}
        assert Counter(begun) == dict.fromkeys(range(30), 2)

    def test_what_one_of_them_publishes_at_the_end_is_drained_too(self, desk: Desk) -> None:
        work = Work(desk)
        handled: list[int] = []

        def pass_on(event: DomainEvent) -> None:
            work.publish(event.data, name="last")

        work.handler(pass_on, "first", concurrency=3)
        work.handler(lambda event: handled.append(event.data), "last", concurrency=3)
        work.publish(*range(30), name="first")
        work.drain()

        assert sorted(handled) == list(range(30))

    def test_a_delivery_is_held_until_the_close(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription())
        desk.publish(message())
        delivery = receive(consumer)
        assert consumer.holds(delivery)
        consumer.close(0)

        assert not consumer.holds(delivery)

    def test_what_a_caller_does_without_may_come_and_is_not_lost(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription("one", "one"), subscription("two", "two"))
        desk.publish(*(message(key) for key in ("one", "one", "two")))
        received = []
        while "two" not in received:
            delivery = consumer.receive(LIMIT_SECONDS, {"one"})
            assert delivery is not None
            received.append(delivery.subscription.name)
            consumer.ack(delivery)
        while len(received) < 3:
            delivery = receive(consumer)
            received.append(delivery.subscription.name)
            consumer.ack(delivery)

        assert sorted(received) == ["one", "one", "two"]
