"""Several threads on one connection: what they hold when it breaks, times out, or is stopped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from threading import Event

import pytest

from domain_event_broker import DomainEvent, Subscriber, publish_domain_event, publish_domain_events
from domain_event_broker.transports.amqp.subscription import SubscriptionChannel
from domain_event_broker.transports.base import Delivery
from tests.amqp.support import PATIENCE_SECONDS, Recorder, wait_for_subscribers, wait_until_empty
from tests.conftest import PrivateRabbitmq
from tests.support.rabbitmq import RabbitmqNode
from tests.support.raw_amqp import ready_count, take_all
from tests.support.threads import start_thread
from tests.support.waiting import wait_until

#: So many that a broker may forget something when they go back one by one.
MANY = 500
HELD = 5
TIMEOUT_MS = 3_000


def publish(url: str, most: int, routing_key: str = "test.event") -> None:
    events = [DomainEvent(routing_key, {"number": number}) for number in range(most)]
    assert all(result.error is None for result in publish_domain_events(events, url))


@contextmanager
def consuming(subscriber: Subscriber, threads: int) -> Iterator[None]:
    thread = start_thread(lambda: subscriber.start_consuming(threads=threads))
    try:
        yield
    finally:
        subscriber.stop_consuming()
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


def numbers_of(handler: Recorder) -> list[int]:
    return [event.data["number"] for event in handler.events]


def receives_no_more(subscriber: Subscriber) -> Callable[[], bool]:
    """Whether all that was delivered has been put aside, for want of room."""
    consumer = subscriber._consumer
    return lambda: consumer._received.empty()  # type: ignore[union-attr]


# Several times: a broker that forgets an ack does so now and then.
@pytest.mark.parametrize("attempt", range(3))
def test_what_was_handled_before_a_stop_does_not_come_again(
    broker_url: str, attempt: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All the others were put aside, and go back, together."""
    releases: list[int] = []
    release = SubscriptionChannel.release

    def note(self: SubscriptionChannel, deliveries: Sequence[Delivery]) -> None:
        releases.append(len(deliveries))
        release(self, deliveries)

    monkeypatch.setattr(SubscriptionChannel, "release", note)
    may_go = Event()
    handler = Recorder(
        lambda event: event.data["number"] + 1 < HELD or may_go.wait(PATIENCE_SECONDS)
    )
    subscriber = Subscriber({"URL": broker_url, "PREFETCH": MANY})
    subscriber.register(handler, "stopped", ["#"])
    publish(broker_url, MANY)
    with consuming(subscriber, threads=2):
        handler.wait_for(HELD)
        wait_until(lambda: ready_count(broker_url, "stopped") == 0, PATIENCE_SECONDS)
        wait_until(receives_no_more(subscriber), PATIENCE_SECONDS)
        subscriber.stop_consuming()
        # Others do not wait for a handler that takes its time.
        wait_until(lambda: ready_count(broker_url, "stopped") == MANY - HELD, PATIENCE_SECONDS)
        may_go.set()

    assert numbers_of(handler) == list(range(HELD))
    wait_until(lambda: ready_count(broker_url, "stopped") == MANY - HELD, PATIENCE_SECONDS)
    assert sum(releases) == MANY - HELD
    assert len(releases) <= 2


def test_what_was_aside_when_the_connection_broke_is_handled_once(
    broker_url: str, broker_vhost: str, rabbitmq: RabbitmqNode
) -> None:
    """It comes again, and would be handled twice. The one that was running is."""
    may_go = Event()
    handler = Recorder(lambda event: event.data["number"] != 1 or may_go.wait(PATIENCE_SECONDS))
    subscriber = Subscriber({"URL": broker_url, "RECONNECT_DELAY": 0.1})
    subscriber.register(handler, "broken", ["#"])
    publish(broker_url, 30)
    with consuming(subscriber, threads=2):
        handler.wait_for(2)
        wait_until(lambda: ready_count(broker_url, "broken") == 0, PATIENCE_SECONDS)
        wait_until(receives_no_more(subscriber), PATIENCE_SECONDS)
        (before,) = wait_for_subscribers(rabbitmq, broker_vhost)
        rabbitmq.close_connections(broker_vhost)
        wait_until(
            lambda: wait_for_subscribers(rabbitmq, broker_vhost) != [before], PATIENCE_SECONDS
        )
        may_go.set()
        wait_until_empty(broker_url, "broken")
        handler.wait_for(31)

    assert Counter(numbers_of(handler)) == {n: 2 if n == 1 else 1 for n in range(30)}
    assert take_all(broker_url, "broken-dl") == []


@pytest.fixture
def impatient(private_rabbitmq: PrivateRabbitmq) -> RabbitmqNode:
    """A node that gives an event up after three seconds without an acknowledgement."""
    return private_rabbitmq(
        config={"consumer_timeout": str(TIMEOUT_MS)},
        rabbit_settings={"channel_tick_interval": "1000"},
    )


def test_a_handler_that_was_timed_out_goes_on_while_others_are_busy(
    impatient: RabbitmqNode, caplog: pytest.LogCaptureFixture
) -> None:
    """It waits for what was running then, and not for a moment at which nothing does."""
    url = impatient.new_vhost()
    may_go, is_over = Event(), Event()
    slow = Recorder(lambda event: may_go.wait(PATIENCE_SECONDS))
    begun: list[int] = []
    numbers = count()

    def keep_busy(event: DomainEvent) -> None:
        """End when the next one has begun, so that one always runs. The first one goes alone."""
        publish_domain_event("busy", {}, connection_settings=url)
        mine = next(numbers)
        begun.append(mine)
        wait_until(lambda: not mine or max(begun) > mine or is_over.is_set(), PATIENCE_SECONDS)

    busy = Recorder(keep_busy)
    subscriber = Subscriber(url)
    subscriber.register(slow, "slow", ["slow"])
    subscriber.register(busy, "busy", ["busy"], concurrency=2)
    publish(url, 1, "slow")
    with consuming(subscriber, threads=3):
        slow.wait_for(1)
        publish(url, 2, "busy")
        wait_until(lambda: "consumer_timeout" in caplog.text, PATIENCE_SECONDS)
        may_go.set()
        publish(url, 1, "slow")
        try:
            slow.wait_for(3)  # the first again, and the next one
        finally:
            is_over.set()
