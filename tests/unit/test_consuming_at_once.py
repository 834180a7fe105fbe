"""`Subscriber.start_consuming` with several threads: how many at once, and how it ends."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest

from domain_event_broker import DomainEvent, Subscriber, publish_domain_event
from domain_event_broker.encoding import decode
from domain_event_broker.errors import HandlerError, SettingsError
from domain_event_broker.handling import AlreadyHandled, NotNow, Report
from domain_event_broker.transports.memory import MemoryConsumer
from tests.support.waiting import wait_until

from .helpers import LIMIT_SECONDS, Background, Recorder, dead_letters, drain, subscriber


class Gathering:
    """A handler whose events wait for each other: `count` at once, or it fails."""

    def __init__(self, count: int) -> None:
        self._barrier = threading.Barrier(count)
        self.threads: set[int] = set()

    def __call__(self, event: DomainEvent) -> None:
        self.threads.add(threading.get_ident())
        self._barrier.wait(LIMIT_SECONDS)


class Held:
    """A handler that tells what it has begun, and goes on once it is let."""

    def __init__(self) -> None:
        self.begun: list[Any] = []
        self.ended: list[Any] = []
        self.may_end = threading.Event()

    def __call__(self, event: DomainEvent) -> None:
        self.begun.append(event.data)
        assert self.may_end.wait(LIMIT_SECONDS)
        self.ended.append(event.data)

    def wait_for(self, count: int) -> None:
        wait_until(lambda: len(self.begun) == count, LIMIT_SECONDS, lambda: f"{self.begun}")


def publish(url: str, *numbers: int, routing_key: str = "a.b") -> None:
    for number in numbers:
        publish_domain_event(routing_key, number, connection_settings=url)


class TestHowMany:
    @pytest.mark.parametrize("threads", [None, 4, 7])
    def test_as_many_of_a_handler_as_it_allows(self, url: str, threads: int | None) -> None:
        handler = Gathering(4)
        subscribed = subscriber(url, handler, concurrency=4)
        publish(url, *range(8))
        subscribed.start_consuming(LIMIT_SECONDS, drain=True, threads=threads)

        assert dead_letters(url) == []
        assert len(handler.threads) >= 4

    def test_no_more_than_there_are_threads(self, url: str) -> None:
        handler = Held()
        subscribed = subscriber(url, handler, concurrency=4)
        publish(url, *range(4))
        with Background(subscribed, threads=2):
            handler.wait_for(2)
            threads = [t for t in threading.enumerate() if t.name == "domain-event-handlers"]
            assert len(threads) == 2
            handler.may_end.set()
            handler.wait_for(4)

    def test_threads_alone_let_different_handlers_run_at_once(self, url: str) -> None:
        both = Gathering(2)
        subscribed = subscriber(url, both, "one")
        subscribed.register(both, "two", ["#"])
        publish(url, *range(5))
        subscribed.start_consuming(LIMIT_SECONDS, drain=True, threads=2)

        assert dead_letters(url, "one") == dead_letters(url, "two") == []

    def test_those_of_a_handler_that_allows_one_stay_in_order(self, url: str) -> None:
        handler = Recorder()
        subscribed = subscriber(url, handler)
        publish(url, *range(200))
        subscribed.start_consuming(LIMIT_SECONDS, drain=True, threads=4)

        assert handler.data == list(range(200))

    def test_a_slow_handler_holds_up_no_other(self, url: str) -> None:
        slow, quick = Held(), Recorder()
        subscribed = subscriber(url, slow, "slow")
        subscribed.register(quick, "quick", ["#"])
        publish(url, *range(200))
        with Background(subscribed, threads=2):
            wait_until(lambda: len(quick.events) == 200, LIMIT_SECONDS)
            assert slow.begun == [0]
            slow.may_end.set()
            slow.wait_for(200)

        assert slow.ended == quick.data == list(range(200))

    @pytest.mark.parametrize("concurrency", [0, -1, 257, 1.0, True, "4", None])
    def test_what_is_no_number_of_events_is_refused(self, url: str, concurrency: Any) -> None:
        for broker in (url, None):
            with pytest.raises(HandlerError, match="concurrency must be a whole number from 1 to"):
                Subscriber(broker).register(print, "handler", ["#"], concurrency=concurrency)

    @pytest.mark.parametrize("threads", [0, -1, 257, 1.0, True, "4"])
    def test_what_is_no_number_of_threads_is_refused(self, url: str, threads: Any) -> None:
        subscribed = subscriber(url, Recorder())
        with pytest.raises(SettingsError, match="threads must be a whole number from 1 to 256"):
            subscribed.start_consuming(threads=threads)

    def test_one_at_a_time_where_the_first_crash_counts(
        self, url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        handler = Recorder()
        subscribed = Subscriber({"URL": url, "CRASH_ATTEMPTS": 1})
        subscribed.register(handler, "handler", ["#"], concurrency=4)
        publish(url, 1)
        with Background(subscribed):
            wait_until(lambda: handler.events)
            threads = [t for t in threading.enumerate() if t.name == "domain-event-handlers"]
            assert len(threads) == 1

        assert "One handler runs at a time, not 4: with CRASH_ATTEMPTS of 1" in caplog.text


class TestEnding:
    @pytest.mark.parametrize("most", [1, 2, 5, 9])
    def test_after_exactly_so_many_events(self, url: str, most: int) -> None:
        handler = Recorder()
        subscribed = subscriber(url, handler, concurrency=4)
        publish(url, *range(20))
        subscribed.start_consuming(LIMIT_SECONDS, max_events=most)
        assert len(handler.events) == most
        drain(subscribed)

        assert sorted(handler.data) == list(range(20))
        assert dead_letters(url) == []

    def test_what_was_no_run_is_made_up_for(self, url: str) -> None:
        """Two are begun, and nothing more; one of them turns out to be a copy."""
        both = threading.Barrier(2)
        handled: list[int] = []

        def handle(event: DomainEvent) -> None:
            if event.data < 2:
                both.wait(LIMIT_SECONDS)
            if event.data == 0:
                raise AlreadyHandled
            handled.append(event.data)

        subscribed = subscriber(url, handle, concurrency=3)
        publish(url, *range(10))
        subscribed.start_consuming(LIMIT_SECONDS, max_events=2)

        assert sorted(handled) == [1, 2]

    def test_draining_waits_for_what_runs_and_for_what_it_publishes(self, url: str) -> None:
        first, rest = Held(), Recorder()

        def publish_then_hold(event: DomainEvent) -> None:
            first(event)
            publish(url, event.data + 10, routing_key="next")

        subscribed = subscriber(url, publish_then_hold, "first", ["first"], concurrency=3)
        subscribed.register(rest, "rest", ["next"])
        publish(url, 1, 2, routing_key="first")
        with Background(subscribed, drain=True) as background:
            first.wait_for(2)
            looks = count_looks(subscribed)
            wait_until(lambda: looks["flush"] or looks["receive"] > 5)
            assert not looks["flush"], "it took itself for idle"
            first.may_end.set()
            background.wait()

        assert sorted(rest.data) == [11, 12]

    def test_all_that_run_may_finish(self, url: str) -> None:
        handler, left = Held(), Recorder()
        subscribed = subscriber(url, handler, concurrency=3)
        publish(url, *range(10))
        with Background(subscribed) as background:
            handler.wait_for(3)
            consumer = consumer_of(subscribed)
            subscribed.stop_consuming()
            wait_until(lambda: not consumer._is_started)
            handler.may_end.set()
            background.wait()
        drain(subscriber(url, left))

        assert sorted(handler.ended) == [0, 1, 2]
        assert sorted(left.data) == list(range(3, 10))

    def test_those_beyond_the_shutdown_timeout_come_back_and_they_alone_count_a_crash(
        self, url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        handler = Held()
        subscribed = subscriber(url, handler, concurrency=3)
        publish(url, *range(6))
        with Background(subscribed, shutdown_timeout_seconds=0.05) as background:
            handler.wait_for(3)
            subscribed.stop_consuming()
            background.wait()
        crashes = crashes_of_waiting(url)
        handler.may_end.set()
        wait_until(lambda: len(handler.ended) == 3)

        assert "still running" in caplog.text
        assert crashes == {0: 1, 1: 1, 2: 1, 3: 0, 4: 0, 5: 0}

    def test_what_is_given_back_counts_no_run(self, url: str) -> None:
        refused: list[int] = []

        def handle(event: DomainEvent) -> None:
            if len(refused) < 5:
                refused.append(event.data)
                raise NotNow
            handled(event)

        handled = Recorder()
        subscribed = subscriber(url, handle, concurrency=2)
        publish(url, 1, 2, 3)
        subscribed.start_consuming(LIMIT_SECONDS, max_events=3)

        assert sorted(handled.data) == [1, 2, 3]
        assert len(refused) >= 5

    def test_a_failing_watcher_ends_all_with_its_error(self, url: str) -> None:
        both = threading.Barrier(2)

        def watch(report: Report) -> None:
            both.wait(LIMIT_SECONDS)
            raise LookupError(report.handler)

        subscribed = subscriber(url, Recorder(), on_report=watch, concurrency=2)
        publish(url, 1, 2)
        with pytest.raises(LookupError, match="handler"):
            subscribed.start_consuming(LIMIT_SECONDS)

    def test_each_thread_gives_up_what_is_its_own(self, url: str) -> None:
        ended: list[int] = []
        handler = Gathering(3)
        subscribed = Subscriber(url, on_worker_end=lambda: ended.append(threading.get_ident()))
        subscribed.register(handler, "handler", ["#"], concurrency=3)
        publish(url, 1, 2, 3)
        subscribed.start_consuming(LIMIT_SECONDS, drain=True)

        assert len(ended) == 3
        assert set(ended) == handler.threads


def test_of_a_handler_that_allows_one_the_next_begins_after_the_report(url: str) -> None:
    """So reports of it come in order, and one at a time; though another thread is free."""
    begun_before_report: list[int] = []

    def watch(report: Report) -> None:
        if report.handler == "one":
            publish(url, len(one.events), routing_key="other")
            wait_until(lambda: len(other.events) == len(one.events), LIMIT_SECONDS)
            begun_before_report.append(len(one.events))

    one, other = Recorder(), Recorder()
    subscribed = subscriber(url, one, "one", ["one"], on_report=watch)
    subscribed.register(other, "other", ["other"])
    publish(url, *range(5), routing_key="one")
    subscribed.start_consuming(LIMIT_SECONDS, drain=True, threads=2)

    assert begun_before_report == [1, 2, 3, 4, 5]


def consumer_of(subscribed: Subscriber) -> MemoryConsumer:
    consumer = subscribed._consumer
    assert isinstance(consumer, MemoryConsumer)
    return consumer


def count_looks(subscribed: Subscriber) -> Counter[str]:
    """How often the consumer was asked for more, and whether all is settled, from now on."""
    consumer = consumer_of(subscribed)
    counts: Counter[str] = Counter()
    receive, flush = consumer.receive, consumer.flush

    def count_receive(*arguments: Any) -> Any:
        counts["receive"] += 1
        return receive(*arguments)

    def count_flush(timeout_seconds: float) -> bool:
        counts["flush"] += 1
        return flush(timeout_seconds)

    consumer.receive = count_receive  # type: ignore[method-assign, assignment]
    consumer.flush = count_flush  # type: ignore[method-assign]
    return counts


def crashes_of_waiting(url: str) -> dict[Any, int]:
    """Of what waits for the handler: its data, and how often its consumer seemed to have died."""
    other = subscriber(url, Recorder())
    consumer = consumer_of(other)
    consumer.start()
    found = {}
    while delivery := consumer.receive(0):
        found[decode(delivery.message).data] = delivery.crashes
        consumer.ack(delivery)
    other.disconnect()
    return found
