"""Looks into the dead letters of a handler, and their replay, on a real broker."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pika
import pytest

from domain_event_broker import (
    DISCARD,
    LEAVE,
    RETRY,
    DomainEvent,
    Retry,
    Subscriber,
    publish_domain_event,
    publish_domain_events,
    replay_all,
    replay_event,
)
from domain_event_broker.errors import UnknownQueue
from tests.amqp.support import Recorder, send_raw, wait_for_dead_letters
from tests.support.consuming import consuming
from tests.support.rabbitmq import RabbitmqNode
from tests.support.raw_amqp import ready_count, take_all, take_one
from tests.support.waiting import wait_until

NAME = "failing"
#: More than a look holds at once.
MANY = 250


def fail(event: DomainEvent) -> None:
    raise ValueError("cannot handle this")


def dead_letters(url: str, count: int) -> list[DomainEvent]:
    """Have the handler fail so often; return the events."""
    subscriber = Subscriber(url)
    subscriber.register(fail, NAME, ["user.#"])
    events = [DomainEvent("user.left", {"n": n}) for n in range(count)]
    publish_domain_events(events, url)
    subscriber.start_consuming(drain=True)
    return events


def number_in(body: bytes) -> int:
    number: int = DomainEvent.from_json(body).data["n"]
    return number


def numbers_in(url: str, queue: str) -> list[int]:
    """Remove all that is in the queue, and return it in a fixed order."""
    return sorted(number_in(message.body) for message in take_all(url, queue))


def test_each_of_many_is_offered_once_and_those_left_stay(broker_url: str) -> None:
    dead_letters(broker_url, MANY)
    offered: Counter[int] = Counter()

    def decide(body: bytes, **kwargs: Any) -> str:
        number = number_in(body)
        offered[number] += 1
        return (RETRY, RETRY, RETRY, LEAVE, DISCARD)[number % 5]

    assert replay_all(NAME, decide, broker_url) == MANY // 5
    assert offered == Counter(range(MANY))
    assert numbers_in(broker_url, NAME) == [n for n in range(MANY) if n % 5 < 3]
    assert numbers_in(broker_url, f"{NAME}-dl") == list(range(3, MANY, 5))


def test_any_number_of_looks_leaves_all_of_them_there(broker_url: str) -> None:
    dead_letters(broker_url, 20)
    for _ in range(25):
        assert replay_all(NAME, lambda **kwargs: LEAVE, broker_url) == 20
    assert replay_event(NAME, lambda **kwargs: LEAVE, broker_url) == 20
    assert numbers_in(broker_url, f"{NAME}-dl") == list(range(20))


def test_those_replayed_are_handled_once(broker_url: str) -> None:
    events = dead_letters(broker_url, 30)
    recorder = Recorder()
    subscriber = Subscriber(broker_url)
    subscriber.register(recorder, NAME, ["user.#"])
    assert replay_all(NAME, connection_settings=broker_url) == 0
    subscriber.start_consuming(drain=True)
    assert recorder.events == events


def test_those_that_fail_again_meanwhile_are_not_offered_again(broker_url: str) -> None:
    dead_letters(broker_url, 10)
    offered: list[int] = []

    def decide(body: bytes, **kwargs: Any) -> str:
        offered.append(number_in(body))
        return RETRY

    subscriber = Subscriber(broker_url)
    subscriber.register(fail, NAME, ["user.#"])
    with consuming(subscriber):
        replay_all(NAME, decide, broker_url)
        wait_for_dead_letters(broker_url, NAME, 10)
    assert sorted(offered) == list(range(10))


def test_a_replayed_event_starts_anew(broker_url: str) -> None:
    recorder = Recorder(then=lambda event: raise_retry())
    subscriber = Subscriber(broker_url)
    subscriber.register(recorder, NAME, ["user.#"], max_retries=1)
    event = publish_domain_event("user.left", {}, connection_settings=broker_url)
    for _ in range(2):
        with consuming(subscriber):
            recorder.wait_for(2)
            wait_for_count(broker_url, 1)
        assert recorder.retries == [0, 1]
        recorder.events.clear()
        replay_event(NAME, connection_settings=broker_url)
    (copy,) = take_all(broker_url, NAME)
    assert DomainEvent.from_json(copy.body) == event


def test_a_replay_keeps_id_body_and_properties(broker_url: str) -> None:
    dead_letters(broker_url, 0)
    body = b'{"data": {"n": 1}, "unknown": [1, 2]}'
    properties: dict[str, Any] = {
        "message_id": "the-id",
        "timestamp": 1_700_000_000,
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "correlation_id": "the-cause-of-all",
        "app_id": "shop",
        "type": "fact",
        "reply_to": "nobody",
        "priority": 3,
    }
    foreign = {"tenant": "x", "count": 7, "x-broker": "no", "CC": ["other"]}
    send_raw(
        broker_url, "user.left", body, pika.BasicProperties(**properties, headers=dict(foreign))
    )
    subscriber = Subscriber(broker_url)
    subscriber.register(fail, NAME, ["user.#"])
    subscriber.start_consuming(drain=True)
    assert replay_event(NAME, connection_settings=broker_url) == 0
    copy = take_one(broker_url, NAME)
    assert copy.body == body
    assert {name: getattr(copy.properties, name) for name in properties} == properties
    assert copy.properties.delivery_mode == 2
    headers = {key: value for key, value in copy.headers.items() if key != "x-delivery-count"}
    assert headers == {"tenant": "x", "count": 7, "deb-routing-key": "user.left"}


def test_a_replay_goes_to_its_own_handler_only(broker_url: str) -> None:
    dead_letters(broker_url, 5)
    others = Recorder()
    other = Subscriber(broker_url)
    other.register(others, "other", ["#"])
    other.register(others, "another", ["user.left", NAME, f"{NAME}-dl"])
    assert replay_all(NAME, connection_settings=broker_url) == 0
    other.start_consuming(drain=True)
    assert others.events == []
    assert ready_count(broker_url, NAME) == 5


@pytest.mark.parametrize("replay", [replay_event, replay_all])
def test_a_handler_that_nobody_knows_has_no_dead_letters(broker_url: str, replay: Any) -> None:
    with pytest.raises(UnknownQueue, match="'nobody' has no dead-letter queue"):
        replay("nobody", connection_settings=broker_url)


def test_dead_letters_of_a_handler_without_a_queue_stay(
    broker_url: str, broker_vhost: str, rabbitmq: RabbitmqNode
) -> None:
    dead_letters(broker_url, 3)
    rabbitmq.management.delete("queues", broker_vhost, NAME)
    with pytest.raises(UnknownQueue, match="has no queue to replay to"):
        replay_all(NAME, connection_settings=broker_url)
    assert numbers_in(broker_url, f"{NAME}-dl") == [0, 1, 2]


def raise_retry() -> None:
    raise Retry(0)


def wait_for_count(url: str, count: int) -> None:
    wait_until(lambda: ready_count(url, f"{NAME}-dl") == count)
