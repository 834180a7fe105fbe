"""How many events a handler's process holds: one until a new one went well, then many."""

from __future__ import annotations

from functools import partial
from threading import Event
from typing import Any

import pytest

from domain_event_broker import DomainEvent, Subscriber, publish_domain_events
from domain_event_broker.settings import Settings
from tests.amqp.support import PATIENCE_SECONDS, Recorder, wait_until_empty
from tests.support.consuming import consuming
from tests.support.rabbitmq import RabbitmqNode
from tests.support.raw_amqp import raw_channel, ready_count, take_all
from tests.support.waiting import wait_until

MANY = 50


def publish(url: str, count: int = MANY) -> None:
    events = [DomainEvent("test.event", {"number": number}) for number in range(count)]
    assert all(result.error is None for result in publish_domain_events(events, url))


def prefetch_counts(rabbitmq: RabbitmqNode, vhost: str) -> list[int]:
    consumers = rabbitmq.management.get("consumers", vhost)
    return [consumer["prefetch_count"] for consumer in consumers]


class Held(Recorder):
    """A handler whose events wait until they are let go."""

    def __init__(self) -> None:
        super().__init__(lambda event: self.may_go.wait(PATIENCE_SECONDS))
        self.may_go = Event()


@pytest.mark.parametrize(
    ("settings", "widest"), [({}, Settings().prefetch), ({"PREFETCH": 7}, 7), ({"PREFETCH": 1}, 1)]
)
def test_it_widens_once_a_new_event_was_settled(
    broker_url: str,
    broker_vhost: str,
    rabbitmq: RabbitmqNode,
    settings: dict[str, int],
    widest: int,
) -> None:
    handler = Recorder()
    subscriber = Subscriber({"URL": broker_url, **settings})
    subscriber.register(handler, "wide", ["#"])
    with consuming(subscriber):
        wait_until(lambda: prefetch_counts(rabbitmq, broker_vhost) == [1], PATIENCE_SECONDS)
        publish(broker_url)
        handler.wait_for(MANY)
        wait_until(lambda: prefetch_counts(rabbitmq, broker_vhost) == [widest], PATIENCE_SECONDS)
    assert [event.data["number"] for event in handler.events] == list(range(MANY))
    wait_until_empty(broker_url, "wide")


def test_only_one_event_is_held_until_then(broker_url: str) -> None:
    handler = Held()
    subscriber = Subscriber(broker_url)
    subscriber.register(handler, "held", ["#"])
    publish(broker_url)
    with consuming(subscriber):
        handler.wait_for(1)
        assert ready_count(broker_url, "held") == MANY - 1
        handler.may_go.set()
        handler.wait_for(MANY)


def test_events_that_were_delivered_before_are_handled_one_at_a_time(
    broker_url: str, broker_vhost: str, rabbitmq: RabbitmqNode
) -> None:
    first, second = Recorder(), Recorder()
    subscriber = Subscriber(broker_url)
    subscriber.register(first, "careful", ["#"])
    publish(broker_url, 3)
    # Released, not handled: a stop, which is no crash, marks them as delivered nevertheless.
    rabbitmq.management.post(
        "queues",
        broker_vhost,
        "careful",
        "get",
        body={"count": 3, "ackmode": "ack_requeue_true", "encoding": "auto"},
    )
    subscriber.disconnect()
    subscriber = Subscriber(broker_url)
    subscriber.register(second, "careful", ["#"])
    with consuming(subscriber):
        second.wait_for(3)
        wait_until(lambda: prefetch_counts(rabbitmq, broker_vhost) == [1], PATIENCE_SECONDS)
        publish(broker_url, 1)
        wait_until(
            lambda: prefetch_counts(rabbitmq, broker_vhost) == [Settings().prefetch],
            PATIENCE_SECONDS,
        )
    wait_until_empty(broker_url, "careful")
    assert take_all(broker_url, "careful-dl") == []


def test_beside_one_that_may_have_ended_a_process_others_take_one_at_a_time(
    broker_url: str, broker_vhost: str, rabbitmq: RabbitmqNode
) -> None:
    """What they held would count a crash, too, and again with the next one."""
    may_go = Event()

    def wait_at(number: int, event: DomainEvent) -> None:
        if event.data["number"] == number:
            may_go.wait(PATIENCE_SECONDS)

    careful, other = Recorder(partial(wait_at, 1)), Recorder(partial(wait_at, 20))
    subscriber = Subscriber(broker_url)
    subscriber.register(other, "other", ["#"])
    subscriber.register(careful, "careful", ["test.*"])
    publish(broker_url, 2)
    with raw_channel(broker_url) as channel:  # which ends as that of a process that died
        assert [channel.basic_get("careful")[0] is None for _ in range(2)] == [False, False]
    wait_until(lambda: ready_count(broker_url, "careful") == 2)
    try:
        with consuming(subscriber, threads=2):
            careful.wait_for(2)
            publish(broker_url)
            other.wait_for(2 + 21)
            wait_until(lambda: ready_count(broker_url, "other") == MANY - 21, PATIENCE_SECONDS)
            may_go.set()
            careful.wait_for(2 + MANY)
            publish(broker_url, 1)
            wait_until(
                lambda: prefetch_counts(rabbitmq, broker_vhost) == 2 * [Settings().prefetch],
                PATIENCE_SECONDS,
            )
    finally:
        may_go.set()


@pytest.mark.parametrize(("settings", "widest"), [({"PREFETCH": 3}, 20), ({"PREFETCH": 30}, 30)])
def test_there_are_at_least_as_many_as_are_handled_at_once(
    broker_url: str,
    broker_vhost: str,
    rabbitmq: RabbitmqNode,
    settings: dict[str, int],
    widest: int,
) -> None:
    handler = Recorder()
    subscriber = Subscriber({"URL": broker_url, **settings})
    subscriber.register(handler, "wide", ["#"], concurrency=20)
    publish(broker_url)
    with consuming(subscriber):
        handler.wait_for(MANY)
        wait_until(lambda: prefetch_counts(rabbitmq, broker_vhost) == [widest], PATIENCE_SECONDS)


def test_a_first_crash_that_counts_is_to_take_no_other_along(
    broker_url: str, broker_vhost: str, rabbitmq: RabbitmqNode
) -> None:
    handler = Held()
    subscriber = Subscriber({"URL": broker_url, "CRASH_ATTEMPTS": 1})
    subscriber.register(handler, "alone", ["#"], concurrency=20)
    publish(broker_url, 5)
    with consuming(subscriber):
        handler.wait_for(1)
        assert ready_count(broker_url, "alone") == 4
        handler.may_go.set()
        handler.wait_for(5)
        wait_until(lambda: prefetch_counts(rabbitmq, broker_vhost) == [1], PATIENCE_SECONDS)


@pytest.mark.parametrize("kind", ["exclusive", "auto_delete"])
def test_a_queue_that_goes_with_its_consumer_stays_while_it_is_consumed(
    broker_url: str, broker_vhost: str, rabbitmq: RabbitmqNode, kind: str
) -> None:
    """Nothing is widened there: an auto-delete queue goes with the consumer that is cancelled."""
    handler = Recorder()
    options: dict[str, Any] = {kind: True}
    subscriber = Subscriber(broker_url)
    subscriber.register(handler, "fleeting", ["#"], **options)
    publish(broker_url)
    with consuming(subscriber):
        handler.wait_for(MANY)
        wait_until(
            lambda: prefetch_counts(rabbitmq, broker_vhost) == [Settings().prefetch],
            PATIENCE_SECONDS,
        )
    assert [event.data["number"] for event in handler.events] == list(range(MANY))
    wait_until(lambda: rabbitmq.queue(broker_vhost, "fleeting") is None, PATIENCE_SECONDS)
