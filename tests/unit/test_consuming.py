"""`Subscriber.start_consuming`: what it handles and when it ends by itself."""

import math
import threading
import time
from typing import Any

import pytest

from domain_event_broker import DomainEvent, Retry, Subscriber, publish_domain_event
from domain_event_broker.errors import BrokerUnavailable, SettingsError
from domain_event_broker.handling import Report
from domain_event_broker.transports.base import Delivery
from domain_event_broker.transports.memory import MemoryConsumer
from tests.support.waiting import wait_until

from .helpers import (
    LIMIT_SECONDS,
    Background,
    Recorder,
    dead_letters,
    drain,
    raising,
    subscriber,
)


def publish(url: str, *numbers: int, routing_key: str = "a.b") -> None:
    for number in numbers:
        publish_domain_event(routing_key, number, connection_settings=url)


def test_handlers_run_one_at_a_time_in_one_other_thread(url: str) -> None:
    threads: set[threading.Thread] = set()
    running = threading.Lock()

    def handle(event: DomainEvent) -> None:
        assert running.acquire(blocking=False)
        threads.add(threading.current_thread())
        running.release()

    reports: list[Report] = []
    subscribed = subscriber(url, handle, "one", on_report=reports.append)
    subscribed.register(handle, "two", ["#"])
    publish(url, *range(20))
    drain(subscribed)

    assert len(reports) == 40
    assert dead_letters(url, "one") == dead_letters(url, "two") == []
    assert len(threads) == 1
    assert threading.current_thread() not in threads


def test_a_busy_handler_leaves_room_for_the_others(url: str) -> None:
    order: list[str] = []
    subscribed = Subscriber(url)
    subscribed.register(lambda event: order.append("busy"), "busy", ["busy"])
    subscribed.register(lambda event: order.append("rare"), "rare", ["rare"])
    publish(url, *range(50), routing_key="busy")
    publish(url, 1, routing_key="rare")
    drain(subscribed)

    assert order.index("rare") < 3


@pytest.mark.parametrize("max_events", [0, 1, 3])
def test_it_ends_after_so_many_events(url: str, max_events: int) -> None:
    handler = Recorder()
    subscribed = subscriber(url, handler)
    publish(url, *range(5))
    subscribed.start_consuming(max_events=max_events)
    assert handler.data == list(range(max_events))
    drain(subscribed)

    assert handler.data == list(range(5))


def test_events_that_fail_or_cannot_be_read_count_as_well(url: str) -> None:
    handler = Recorder(raising(ValueError()))
    subscribed = subscriber(url, handler)
    publish(url, 1, 2, 3)
    subscribed.start_consuming(max_events=2)

    assert handler.data == [1, 2]


@pytest.mark.parametrize("timeout", [0, 0.0, 1e-9])
def test_a_timeout_of_nothing_ends_at_once(url: str, timeout: float) -> None:
    subscribed = subscriber(url, Recorder())
    with Background(subscribed, timeout=timeout) as background:
        background.wait()

    assert background.error is None


def test_a_timeout_ends_it_and_not_before(url: str) -> None:
    subscribed = subscriber(url, Recorder())
    began = time.monotonic()
    subscribed.start_consuming(timeout=0.2)

    assert time.monotonic() - began >= 0.2


def test_a_running_handler_finishes_after_the_timeout(url: str) -> None:
    began = time.monotonic()
    handler = Recorder(lambda event: wait_until(lambda: time.monotonic() > began + 3))
    subscribed = subscriber(url, handler)
    publish(url, 1, 2)
    subscribed.start_consuming(timeout=2)
    assert time.monotonic() > began + 3
    drain(subscribed)

    assert handler.data == [1, 2]
    assert dead_letters(url) == []


def test_draining_handles_what_waits_and_what_is_published_meanwhile(url: str) -> None:
    def publish_next(event: DomainEvent) -> None:
        if event.data < 5:
            publish(url, event.data + 1)

    handler = Recorder(publish_next)
    subscribed = subscriber(url, handler)
    publish(url, 0)
    subscribed.start_consuming(drain=True)

    assert handler.data == [0, 1, 2, 3, 4, 5]


def test_draining_waits_for_what_is_still_on_its_way(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive = MemoryConsumer.receive
    nothing_yet = [True] * 5

    def receive_late(self: MemoryConsumer, timeout_seconds: float) -> Delivery | None:
        return None if nothing_yet and nothing_yet.pop() else receive(self, timeout_seconds)

    monkeypatch.setattr(MemoryConsumer, "receive", receive_late)
    handler = Recorder()
    subscribed = subscriber(url, handler)
    publish(url, 1)
    subscribed.start_consuming(LIMIT_SECONDS, drain=True)

    assert handler.data == [1]


def test_draining_goes_on_while_the_broker_is_away(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = MemoryConsumer.waiting
    away = [True] * 3
    handler = Recorder()
    subscribed = subscriber(url, handler)

    def count_later(self: MemoryConsumer) -> int:
        if away:
            away.pop()
            if not away:
                publish(url, 1)
            raise BrokerUnavailable("no connection")
        return count(self)

    monkeypatch.setattr(MemoryConsumer, "waiting", count_later)
    subscribed.start_consuming(LIMIT_SECONDS, drain=True)

    assert handler.data == [1]


def test_draining_leaves_a_delayed_retry_to_later(url: str) -> None:
    handler = Recorder(lambda event: retry_in(60))
    subscribed = subscriber(url, handler, max_retries=1)
    publish(url, 1)
    subscribed.start_consuming(drain=True)

    assert handler.data == [1]
    assert dead_letters(url) == []


def retry_in(delay: float) -> None:
    raise Retry(delay)


def test_draining_nothing_ends(url: str) -> None:
    subscriber(url, Recorder()).start_consuming(drain=True)


def test_without_handlers_there_is_nothing_to_consume(url: str) -> None:
    Subscriber(url).start_consuming()


@pytest.mark.parametrize(
    "limits",
    [
        {"timeout": -1},
        {"timeout": math.nan},
        {"max_events": -1},
        {"shutdown_timeout_seconds": -0.1},
    ],
)
def test_a_negative_limit_is_refused(url: str, limits: dict[str, Any]) -> None:
    subscribed = subscriber(url, Recorder())
    with pytest.raises(SettingsError, match=f"{next(iter(limits))} must not be negative"):
        subscribed.start_consuming(**limits)


def test_a_failing_watcher_ends_it_with_its_error(url: str) -> None:
    def watch(report: Report) -> None:
        raise LookupError(report.handler)

    subscribed = subscriber(url, Recorder(), on_report=watch)
    publish(url, 1)
    with pytest.raises(LookupError, match="handler"):
        subscribed.start_consuming(LIMIT_SECONDS)


def test_disconnecting_twice_is_harmless(url: str) -> None:
    subscribed = subscriber(url, Recorder(), exclusive=True)
    subscribed.disconnect()
    subscribed.disconnect()
    Subscriber(url).disconnect()

    subscriber(url, Recorder(), exclusive=True)
