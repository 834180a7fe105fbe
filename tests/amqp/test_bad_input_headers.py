"""Headers and properties that no client of ours writes, but another may."""

from __future__ import annotations

import struct
import time
from typing import Any

import pika
import pytest

from domain_event_broker import DomainEvent, Retry, Subscriber
from tests.amqp.support import (
    DeadLetter,
    Recorder,
    body_of,
    send_raw,
    transport_warnings,
    wait_for_dead_letters,
    wait_for_subscribers,
)
from tests.support.consuming import consuming
from tests.support.rabbitmq import RabbitmqNode

FAR_FUTURE_MS = 2**63 - 1
NOT_UTF_8 = b"\xff\xfe"

#: What is wrong -> headers. Each event is retried once and dead-lettered then.
HEADERS: dict[str, dict[Any, Any]] = {
    "x-death of integers": {"x-death": [1, 2]},
    "x-death as text": {"x-death": "often"},
    "x-death with a count as text": {"x-death": [{"count": "many", "queue": "odd"}]},
    "x-death with a negative count": {"x-death": [{"count": -1, "queue": "odd"}]},
    "x-death without a queue": {"x-death": [{"count": 1}]},
    "x-death as a table": {"x-death": {"count": 41}},
    "x-delivery-count as text": {"x-delivery-count": "x"},
    "x-delivery-count": {"x-delivery-count": 1_000},
    "retries as text": {"deb-retries": "x"},
    "retries below 0": {"deb-retries": -1},
    "retries as a table": {"deb-retries": {"a": 1}},
    "retries as a boolean": {"deb-retries": True},
    "due at a text": {"deb-due-at-ms": "tomorrow"},
    "due at a list": {"deb-due-at-ms": [1]},
    "due below 0": {"deb-due-at-ms": -1},
    "due when nobody lives": {"deb-due-at-ms": FAR_FUTURE_MS},
    "due in a year": {"deb-due-at-ms": (int(time.time()) + 366 * 24 * 3600) * 1000},
    "routing key as a number": {"deb-routing-key": 5},
    "routing key too long": {"deb-routing-key": "k" * 1_000},
    "reason as a table": {"deb-reason": {"a": 1}},
    "tier as a number": {"deb-tier": 5},
    "a name that is no UTF-8": {NOT_UTF_8: 1},
    "a long name that is no UTF-8": {NOT_UTF_8 * 127: 1},
    "a broker's name that is no UTF-8": {b"x-" + NOT_UTF_8: 1},
    "a value that is no UTF-8": {"odd": NOT_UTF_8},
    "an empty name": {"": 1},
    "nested": {"odd": [{"a": [{"b": [None, True, -1, 2**62, "text", b"bytes"]}]}]},
}
PROPERTIES: dict[str, dict[str, Any]] = {
    "an id that is no UTF-8": {"message_id": NOT_UTF_8},
    "a long id that is no UTF-8": {"message_id": b"\xff" * 255},
    "long properties that are no UTF-8": dict.fromkeys(
        ["correlation_id", "app_id", "type", "reply_to", "content_type"], b"\xff" * 255
    ),
    "an empty id": {"message_id": ""},
    "a far timestamp": {"timestamp": 2**64 - 1},
    "a pickle": {"content_type": "application/x-python-serialize"},
    "a compressed body": {"content_encoding": "gzip"},
    "the highest priority": {"priority": 255},
    "a user": {"user_id": "guest"},
    "an expiration": {"expiration": "3600000"},
    "not persistent": {"delivery_mode": 1},
}


def retry_once(event: DomainEvent) -> None:
    if event.routing_key == "odd.event":
        raise Retry(0.1)


def send_among_neighbours(url: str, cases: dict[str, pika.BasicProperties]) -> None:
    for what, properties in cases.items():
        send_raw(url, "odd.event", body_of("odd.event", data=what), properties)
        send_raw(url, "good.event", body_of("good.event", data=what))


def check_each_is_retried_and_dead_lettered(
    url: str, cases: dict[str, pika.BasicProperties], subscriber: Subscriber, handler: Recorder
) -> dict[str, DeadLetter]:
    """Send the cases; return their dead letters by what is wrong with them."""
    send_among_neighbours(url, cases)
    with consuming(subscriber):
        dead_letters = wait_for_dead_letters(url, "sturdy", len(cases))
        handler.wait_for(3 * len(cases))
    good = [event.data for event in handler.events if event.routing_key == "good.event"]
    assert good == list(cases)
    odd = [(e.data, e.retries) for e in handler.events if e.routing_key == "odd.event"]
    assert sorted(odd) == sorted((what, retries) for what in cases for retries in (0, 1))
    assert {d.reason for d in dead_letters} == {"retries-exhausted"}
    return {what_of(dead_letter): dead_letter for dead_letter in dead_letters}


def what_of(dead_letter: DeadLetter) -> str:
    return str(DomainEvent.from_json(dead_letter.raw.body).data)


@pytest.fixture
def handler() -> Recorder:
    return Recorder(retry_once)


@pytest.fixture
def subscriber(broker_url: str, handler: Recorder) -> Subscriber:
    subscriber = Subscriber(broker_url)
    subscriber.register(handler, "sturdy", ["#"], max_retries=1)
    return subscriber


@pytest.mark.fault(row=17)
def test_odd_headers_are_no_obstacle(
    broker_url: str, subscriber: Subscriber, handler: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    cases = {what: pika.BasicProperties(headers=headers) for what, headers in HEADERS.items()}
    dead_letters = check_each_is_retried_and_dead_lettered(broker_url, cases, subscriber, handler)
    nested = dead_letters["nested"].raw.headers["odd"]
    assert nested == HEADERS["nested"]["odd"]
    assert dead_letters["a value that is no UTF-8"].raw.headers["odd"] == NOT_UTF_8
    assert not transport_warnings(caplog)


def test_odd_properties_are_no_obstacle(
    broker_url: str, subscriber: Subscriber, handler: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    cases = {what: pika.BasicProperties(**values) for what, values in PROPERTIES.items()}
    dead_letters = check_each_is_retried_and_dead_lettered(broker_url, cases, subscriber, handler)
    for dead_letter in dead_letters.values():
        assert dead_letter.raw.properties.delivery_mode == 2
        assert dead_letter.raw.properties.expiration is None
        assert dead_letter.raw.properties.user_id is None
    assert not transport_warnings(caplog)


class Timestamped(pika.BasicProperties):  # type: ignore[misc]  # pika is not typed
    """Properties with a header of type timestamp that Python's datetime cannot hold."""

    def __init__(self, seconds: int) -> None:
        super().__init__(headers={"sent": seconds})
        self._seconds = struct.pack(">q", seconds)

    def encode(self) -> list[bytes]:
        pieces: list[bytes] = super().encode()
        integer, timestamp = b"l" + self._seconds, b"T" + self._seconds
        return [timestamp if piece == integer else piece for piece in pieces]


def test_headers_that_cannot_be_decoded_cost_themselves_only(
    broker_url: str,
    broker_vhost: str,
    rabbitmq: RabbitmqNode,
    subscriber: Subscriber,
    handler: Recorder,
) -> None:
    cases = {
        "milliseconds": Timestamped(1_700_000_000_000),
        "the largest": Timestamped(2**63 - 1),
    }
    with consuming(subscriber):
        before = wait_for_subscribers(rabbitmq, broker_vhost)
        send_among_neighbours(broker_url, cases)
        dead_letters = wait_for_dead_letters(broker_url, "sturdy", len(cases))
        handler.wait_for(3 * len(cases))
        assert wait_for_subscribers(rabbitmq, broker_vhost) == before
    for dead_letter in dead_letters:
        assert "sent" not in dead_letter.raw.headers
        assert dead_letter.raw.headers["deb-unreadable-headers"]
        assert dead_letter.raw.headers["deb-retries"] == 1


def test_a_routing_key_that_is_no_utf_8_is_no_obstacle(
    broker_url: str, subscriber: Subscriber, handler: Recorder
) -> None:
    key: Any = b"odd." + NOT_UTF_8
    send_raw(broker_url, key, body_of("odd.event"))
    send_raw(broker_url, key, b"{}")
    with consuming(subscriber):
        (dead_letter,) = wait_for_dead_letters(broker_url, "sturdy")
        handler.wait_for(3)
    assert handler.keys == ["odd.event", "odd.\\xff\\xfe", "odd.event"]
    assert dead_letter.raw.headers["deb-routing-key"] == "odd.\\xff\\xfe"
