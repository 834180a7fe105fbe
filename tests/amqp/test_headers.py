"""Headers near the limits of a frame, and those that ask something of the broker."""

from __future__ import annotations

from typing import Any

import pika
import pytest

from domain_event_broker import DomainEvent, Retry, Subscriber
from tests.amqp.support import (
    Recorder,
    body_of,
    send_raw,
    transport_warnings,
    wait_for_dead_letter,
    wait_for_dead_letters,
    wait_until_empty,
)
from tests.support.consuming import consuming
from tests.support.raw_amqp import bind_queue, take_one
from tests.support.waiting import wait_until

KILOBYTE = 1_000
# pika's and RabbitMQ's default; the other properties and the frame itself take a little.
ALMOST_A_FRAME = 131_072 - 300
LONG_ERROR = "ü" * 2_000


def retry_then_fail(event: DomainEvent) -> None:
    if event.routing_key == "test.large":
        if not event.retries:
            raise Retry(0.1)
        raise ValueError(LONG_ERROR)


def register(url: str, handler: Recorder, max_retries: int = 1) -> Subscriber:
    subscriber = Subscriber(url)
    subscriber.register(handler, "large", ["test.*"], max_retries=max_retries)
    return subscriber


def send_large(url: str, headers: dict[Any, Any]) -> None:
    send_raw(url, "test.large", headers=headers)
    send_raw(url, "test.good")


@pytest.mark.fault(row=18)
def test_a_header_of_100_kb_travels_through_retry_and_dead_letter(
    broker_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"large": "x" * 100 * KILOBYTE, "small": 1}
    handler = Recorder(retry_then_fail)
    subscriber = register(broker_url, handler)
    send_large(broker_url, headers)
    with consuming(subscriber):
        dead_letter = wait_for_dead_letter(broker_url, "large")
        handler.wait_for(3)
    assert handler.keys == ["test.large", "test.good", "test.large"]
    assert headers.items() <= dead_letter.raw.headers.items()
    assert dead_letter.reason == "error"
    assert dead_letter.error_message == LONG_ERROR[:1_000]
    assert not transport_warnings(caplog)


@pytest.mark.parametrize("count", [1, 1_000])
@pytest.mark.fault(row=18)
def test_what_fills_a_frame_leaves_room_for_our_own_headers(
    broker_url: str, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Foreign headers give way to the story of a dead letter, and the event moves."""
    # Each has a name of 7 bytes, its length, a type and a length of 4 bytes.
    length = ALMOST_A_FRAME // count - 13
    headers = {f"many{number:03}": "x" * length for number in range(count)}
    handler = Recorder(retry_then_fail)
    subscriber = register(broker_url, handler)
    send_large(broker_url, headers)
    with consuming(subscriber):
        dead_letter = wait_for_dead_letter(broker_url, "large")
        handler.wait_for(3)
    assert handler.retries == [0, 0, 1]
    assert dead_letter.reason == "error"
    assert dead_letter.error_type == "ValueError"
    assert dead_letter.raw.headers["deb-retries"] == 1
    assert all("it is dropped" in text for text in transport_warnings(caplog))
    kept = [key for key in dead_letter.raw.headers if key in headers]
    assert len(kept) < count
    assert len(kept) > count * 0.8 or count == 1


# 8,192 bytes is the least that RabbitMQ 4.3 takes.
@pytest.mark.parametrize(
    ("frame_max", "length"),
    [(8_192, 5_500), (8_192, 7_800), (8_192, 100_000), (20_000, 19_500)],
)
def test_a_connection_with_small_frames_is_no_obstacle(
    broker_url: str, frame_max: int, length: int, caplog: pytest.LogCaptureFixture
) -> None:
    """As a broker may ask for; others may have larger ones, and what they sent arrives."""
    handler = Recorder(retry_then_fail)
    subscriber = register(f"{broker_url}?frame_max={frame_max}", handler)
    send_large(broker_url, {"small": 1, "large": "x" * length})
    with consuming(subscriber):
        dead_letter = wait_for_dead_letter(broker_url, "large")
        handler.wait_for(3)
    assert handler.keys == ["test.large", "test.good", "test.large"]
    assert dead_letter.reason == "error"
    assert dead_letter.raw.headers["small"] == 1
    assert all("it is dropped" in text for text in transport_warnings(caplog))


@pytest.mark.parametrize("name", ["CC", "BCC"])
def test_a_clients_further_addresses_count_once(broker_url: str, name: str) -> None:
    """The broker routes the original by them; our copies of it go to the handler alone."""
    bind_queue(broker_url, "elsewhere", "copied.event")
    handler = Recorder(retry_then_fail)
    subscriber = register(broker_url, handler)
    send_raw(broker_url, "test.large", headers={name: ["copied.event", "test.good", "large"]})
    take_one(broker_url, "elsewhere")
    with consuming(subscriber):
        dead_letter = wait_for_dead_letter(broker_url, "large")
    # Once, although two of its keys are bound.
    assert handler.retries == [0, 1]
    wait_until_empty(broker_url, "elsewhere")
    wait_until_empty(broker_url, "large")
    assert name not in dead_letter.raw.headers


def test_what_expires_while_its_handler_is_away_is_kept(broker_url: str) -> None:
    """A client's expiration is its wish not to be handled late; it is told, not lost."""
    handler = Recorder()
    subscriber = register(broker_url, handler)
    properties = pika.BasicProperties(expiration="1", message_id="expired", delivery_mode=2)
    send_raw(broker_url, "test.good", properties=properties)
    dead_letter = wait_for_dead_letter(broker_url, "large")
    assert dead_letter.raw.properties.message_id == "expired"
    assert dead_letter.raw.headers["x-death"][0]["reason"] == "expired"
    subscriber.disconnect()


def test_a_clients_expiration_does_not_cut_a_retry_short(broker_url: str) -> None:
    handler = Recorder(retry_then_fail)
    subscriber = register(broker_url, handler)
    with consuming(subscriber):
        # Handled at once, since somebody consumes; then it waits longer than it would live.
        properties = pika.BasicProperties(expiration="2000", delivery_mode=2)
        send_raw(broker_url, "test.large", body_of("test.large"), properties)
        (dead_letter,) = wait_for_dead_letters(broker_url, "large")
    assert handler.retries == [0, 1]
    assert dead_letter.raw.properties.expiration is None


@pytest.mark.fault(row=18)
def test_a_broken_connection_is_not_what_large_headers_cost(broker_url: str) -> None:
    """Ten in a row, handled in order, with one event between each two."""
    handler = Recorder()
    subscriber = register(broker_url, handler)
    for number in range(10):
        body = body_of("test.large", data=number)
        send_raw(broker_url, "test.large", body, headers={"large": "x" * 120 * KILOBYTE})
        send_raw(broker_url, "test.good", body_of("test.good", data=number))
    with consuming(subscriber):
        wait_until(lambda: len(handler.events) == 20)
    assert [event.data for event in handler.events] == [n // 2 for n in range(20)]
