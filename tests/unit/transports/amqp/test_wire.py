"""Between `Message` and AMQP: whatever arrived can be sent again."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pika
import pytest

from domain_event_broker.messages import Message
from domain_event_broker.transports.amqp.wire import (
    MAX_HEADERS_BYTES,
    encode_properties,
    fit_headers,
    sent_id,
    to_message,
)

# By RabbitMQ's default; a larger frame costs the connection.
FRAME_MAX_BYTES = 131_072
FULL = Message(
    routing_key="user.registered",
    body=b"{}",
    message_id="the-id",
    timestamp=1795236128,
    content_type="application/json",
    content_encoding="utf-8",
    correlation_id="beginning",
    app_id="shop",
    type="v1",
    reply_to="nobody",
    priority=5,
    headers={"deb-retries": 1, "tenant": "x"},
)


def received(encoded: bytes) -> pika.BasicProperties:
    """What the peer reads of it."""
    assert len(encoded) < FRAME_MAX_BYTES
    return pika.BasicProperties().decode(encoded)


def sent(message: Message) -> pika.BasicProperties:
    return received(encode_properties(message, FRAME_MAX_BYTES))


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"k": value}
    return value


def test_every_property_survives() -> None:
    assert to_message(FULL.routing_key, sent(FULL), FULL.body) == FULL


def test_absent_properties_stay_absent() -> None:
    bare = Message("a.b", b"")

    assert to_message("a.b", sent(bare), b"") == bare


def test_everything_is_persistent() -> None:
    assert sent(FULL).delivery_mode == 2


def test_it_is_what_pika_writes() -> None:
    names = ("message_id", "timestamp", "content_type", "content_encoding", "correlation_id")
    more = ("app_id", "type", "reply_to", "priority", "headers")
    values = {name: getattr(FULL, name) for name in (*names, *more)}
    theirs = pika.BasicProperties(delivery_mode=2, **values)
    assert encode_properties(FULL, FRAME_MAX_BYTES) == b"".join(theirs.encode())


def test_an_id_that_is_too_long_is_left_out() -> None:
    for message_id, is_sent in {"é" * 127: True, "é" * 128: False, "": True}.items():
        message = Message("a.b", b"", message_id=message_id)
        assert sent_id(message) == (message_id if is_sent else None)
        assert sent(message).message_id == sent_id(message)


def test_headers_fit_into_a_frame_that_the_broker_lowered() -> None:
    message = replace(FULL, headers={"large": "x" * 5_000, "small": 1})
    assert received(encode_properties(message, 4_096)).headers == {"small": 1}


def test_a_copy_for_one_queue_has_its_events_routing_key() -> None:
    properties = pika.BasicProperties(headers={"deb-routing-key": "user.registered"})
    assert to_message("handler", properties, b"").routing_key == "user.registered"

    nonsense = pika.BasicProperties(headers={"deb-routing-key": 5})
    assert to_message("handler", nonsense, b"").routing_key == "handler"


def test_our_own_headers_are_kept_before_those_of_others() -> None:
    large = "x" * (MAX_HEADERS_BYTES // 2)
    fitting = fit_headers({"a": large, "b": large, "c": 1, "deb-reason": large})

    assert list(fitting) == ["deb-reason", "c"]


@pytest.mark.parametrize(
    "value",
    [2**70, object(), "\ud800", nested(5_000), {"k": {1: 2}}, {"k" * 300: 1}],
    ids=["large", "object", "surrogate", "deep", "key", "long key"],
)
def test_a_header_that_cannot_be_written_is_left_out(value: Any) -> None:
    message = Message("a.b", b"", headers={"bad": value, "good": 1})

    assert sent(message).headers == {"good": 1}


@pytest.mark.parametrize(
    "properties",
    [
        pika.BasicProperties(message_id=b"\xff" * 255, correlation_id=b"\xff\x00", app_id=b"\xfe"),
        pika.BasicProperties(content_type="é" * 127, reply_to="x" * 255, type=b"\xff" * 60),
        pika.BasicProperties(timestamp=2**64 - 1, priority=255, expiration="1", user_id="guest"),
        pika.BasicProperties(headers={"x-death": [1, 2], "CC": "no list"}),
        pika.BasicProperties(headers={b"\xff": 1, "é" * 127: 2, "": 3}),
        pika.BasicProperties(headers={"when": datetime(2026, 1, 1, tzinfo=UTC), "b": b"\xff"}),
        pika.BasicProperties(headers={"large": "x" * 125_000}),
        pika.BasicProperties(headers=nested(300)),
    ],
    ids=["ids", "strings", "numbers", "brokers", "names", "values", "size", "depth"],
)
def test_whatever_arrives_can_be_sent_again(properties: pika.BasicProperties) -> None:
    arrived = received(b"".join(properties.encode()))
    message = to_message(b"\xff" * 255, arrived, b"\xff")

    again = sent(message)
    for name in ("message_id", "correlation_id", "app_id", "type"):
        value = getattr(again, name)
        assert value is None or len(value.encode()) <= 255
    message.routing_key.encode()
