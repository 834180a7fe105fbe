"""What a retried copy keeps of its event, and what it drops."""

from __future__ import annotations

import time
from typing import Any

import pika

from domain_event_broker import DomainEvent, Retry, Subscriber, publish_domain_event
from domain_event_broker.names import delay_queue
from tests.amqp.support import (
    EXCHANGE,
    PATIENCE_SECONDS,
    Recorder,
    body_of,
    send_raw,
    wait_for_dead_letter,
)
from tests.support.consuming import consuming
from tests.support.raw_amqp import RawMessage, bind_queue, ready_count, take_all, take_one
from tests.support.waiting import wait_until

LARGEST_TIER_MS = 100 << 24
DAYS_30_SECONDS = 30 * 24 * 3600
KEPT_PROPERTIES = [
    *("timestamp", "content_type", "content_encoding", "correlation_id"),
    *("app_id", "type", "reply_to", "priority"),
]
FOREIGN_HEADERS: dict[str, Any] = {
    "tenant": "north",
    "schema": 3,
    "nested": {"list": [1, "two", None, True]},
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}
BROKERS_HEADERS: dict[str, Any] = {
    "x-death": [{"count": 41, "queue": "elsewhere", "reason": "expired"}],
    "x-first-death-queue": "elsewhere",
    "X-Custom": "upper case",
    "x-delivery-count": 99,
    "CC": ["copied"],
    "BCC": ["blind"],
}


def register(
    url: str, handler: Recorder, name: str = "keeping", max_retries: int = 1
) -> Subscriber:
    subscriber = Subscriber(url)
    subscriber.register(handler, name, ["test.*"], max_retries=max_retries)
    return subscriber


def brokers_headers(raw: RawMessage) -> list[str]:
    """Those that the message was sent with: a quorum queue adds a count of its own, here 0."""
    names = [key for key in raw.headers if key.lower().startswith("x-") or key in ("CC", "BCC")]
    return [name for name in names if raw.headers[name] or name != "x-delivery-count"]


def always_retry(delay: float) -> Recorder:
    def retry(event: DomainEvent) -> None:
        raise Retry(delay)

    return Recorder(retry)


def in_delay_queue(url: str, tier_ms: int) -> RawMessage:
    queue = delay_queue(EXCHANGE, tier_ms)
    wait_until(lambda: ready_count(url, queue), PATIENCE_SECONDS)
    return take_one(url, queue)


def test_a_copy_keeps_id_body_properties_and_foreign_headers(broker_url: str) -> None:
    body = body_of("test.kept", data={"text": "Grüße", "number": 1.5}, extra="unknown")
    properties = pika.BasicProperties(
        message_id="the-id",
        timestamp=1_700_000_000,
        content_type="application/json",
        content_encoding="utf-8",
        correlation_id="the-cause",
        app_id="elsewhere",
        type="test",
        reply_to="nobody",
        priority=4,
        headers=FOREIGN_HEADERS,
    )
    handler = always_retry(DAYS_30_SECONDS)
    subscriber = register(broker_url, handler)
    send_raw(broker_url, "test.kept", body, properties)
    before_ms = time.time_ns() // 1_000_000
    with consuming(subscriber):
        copy = in_delay_queue(broker_url, LARGEST_TIER_MS)
    assert copy.body == body
    for name in KEPT_PROPERTIES:
        assert getattr(copy.properties, name) == getattr(properties, name)
    assert copy.properties.message_id == handler.events[0].uuid_string
    assert copy.properties.delivery_mode == 2
    assert copy.routing_key == "keeping"
    assert FOREIGN_HEADERS.items() <= copy.headers.items()
    assert copy.headers["deb-routing-key"] == "test.kept"
    assert copy.headers["deb-retries"] == 1
    due_at_ms = copy.headers["deb-due-at-ms"]
    assert before_ms <= due_at_ms - DAYS_30_SECONDS * 1000 <= time.time_ns() // 1_000_000 + 1


def test_copies_drop_the_brokers_headers_and_reach_nobody_else(broker_url: str) -> None:
    # Named as CC and BCC say, but bound for nothing: only a copy sent to a queue could reach them.
    bind_queue(broker_url, "copied")
    bind_queue(broker_url, "blind")
    handler = always_retry(0.1)
    subscriber = register(broker_url, handler)
    send_raw(broker_url, "test.dropped", headers={**FOREIGN_HEADERS, **BROKERS_HEADERS})
    with consuming(subscriber):
        dead_letter = wait_for_dead_letter(broker_url, "keeping")
    assert handler.retries == [0, 1]
    assert take_all(broker_url, "copied") == take_all(broker_url, "blind") == []
    assert FOREIGN_HEADERS.items() <= dead_letter.raw.headers.items()
    assert not brokers_headers(dead_letter.raw)


def test_a_delayed_copy_carries_none_of_the_clients_broker_headers(broker_url: str) -> None:
    subscriber = register(broker_url, always_retry(DAYS_30_SECONDS))
    send_raw(broker_url, "test.dropped", headers=BROKERS_HEADERS)
    with consuming(subscriber):
        copy = in_delay_queue(broker_url, LARGEST_TIER_MS)
    assert not brokers_headers(copy)


def test_an_event_without_an_id_keeps_the_one_that_its_first_run_saw(broker_url: str) -> None:
    handler = always_retry(0.1)
    subscriber = register(broker_url, handler, max_retries=2)
    send_raw(broker_url, "test.nameless", b'{"routing_key": "test.nameless", "data": {}}')
    with consuming(subscriber):
        dead_letter = wait_for_dead_letter(broker_url, "keeping")
    assert handler.retries == [0, 1, 2]
    (identity,) = {event.uuid_string for event in handler.events}
    assert dead_letter.raw.properties.message_id == identity


def test_a_retry_during_another_of_the_same_event_keeps_both(broker_url: str) -> None:
    """An event that was published twice is two deliveries."""
    handler = always_retry(0.1)
    subscriber = register(broker_url, handler)
    for _ in range(2):
        publish_domain_event("test.twice", {}, None, "same-id", connection_settings=broker_url)
    with consuming(subscriber):
        handler.wait_for(4)
    assert sorted(handler.retries) == [0, 0, 1, 1]
