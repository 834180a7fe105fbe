"""`Publisher`: bodies that are encoded already, to one broker and exchange."""

import json
from typing import Any

import pytest

import domain_event_broker.settings as settings_module
from domain_event_broker import DomainEvent, Publisher, Subscriber
from domain_event_broker.errors import (
    EventTooLarge,
    InvalidEvent,
    SettingsError,
    TransportClosed,
    UnreadableEvent,
    UnroutableEvent,
)

from .helpers import Recorder, drain, received, subscriber, tap

EVENT = DomainEvent("user.registered", {"user_id": 1}, "42")
BODY = json.dumps(EVENT.event_data)


@pytest.mark.parametrize("body", [BODY, BODY.encode()], ids=["str", "bytes"])
@pytest.mark.parametrize("routing_key", [None, "user.registered"])
def test_an_encoded_event_is_delivered(
    url: str, body: bytes | str, routing_key: str | None
) -> None:
    handler = Recorder()
    subscribed = subscriber(url, handler, binding_keys=["user.registered"])
    Publisher(url).publish(body, routing_key)
    drain(subscribed)

    assert handler.events == [EVENT]


def test_it_is_carried_under_its_own_id(url: str) -> None:
    consumer = tap(url)
    Publisher(url).publish(BODY)

    assert [message.message_id for message in received(consumer)] == [EVENT.uuid_string]


def test_any_bytes_are_carried_under_a_routing_key(url: str) -> None:
    consumer = tap(url)
    Publisher(url).publish(b"\xff\x00", "user.registered")

    assert [message.body for message in received(consumer)] == [b"\xff\x00"]


@pytest.mark.parametrize(
    ("body", "routing_key", "error"),
    [
        (b"hello", None, UnreadableEvent),
        (b"{}", None, InvalidEvent),
        (BODY, "k" * 256, InvalidEvent),
        (BODY, 5, TypeError),
        (EVENT, "a.b", TypeError),
        ('"\ud800"', "a.b", InvalidEvent),
        (b"x" * 1_001, "a.b", EventTooLarge),
    ],
)
def test_what_cannot_be_sent_is_refused(
    url: str, body: Any, routing_key: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        Publisher({"URL": url, "MAX_EVENT_BYTES": 1_000}).publish(body, routing_key)


def test_it_publishes_to_its_exchange_alone(url: str) -> None:
    consumer = tap(url)
    publisher = Publisher({"URL": url, "UNROUTABLE": "raise"}, "other-events", "topic")
    with pytest.raises(UnroutableEvent):
        publisher.publish(BODY)

    assert received(consumer) == []


def test_a_subscriber_of_another_exchange_gets_what_is_published_there(url: str) -> None:
    handler, stranger = Recorder(), Recorder()
    subscribed = Subscriber(url, exchange="audit", exchange_type="fanout")
    subscribed.register(handler, "audit", ["never.matters"])
    other = subscriber(url, stranger)
    Publisher(url, "audit", "fanout").publish(BODY)
    drain(subscribed)
    drain(other)

    assert handler.events == [EVENT]
    assert stranger.events == []


def test_the_default_broker_is_read_when_the_publisher_is_made(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = tap(url)
    monkeypatch.setattr(settings_module, "BROKER", url)
    publisher = Publisher()
    monkeypatch.setattr(settings_module, "BROKER", None)
    publisher.publish(BODY)

    assert len(received(consumer)) == 1


def test_without_a_broker_nothing_happens() -> None:
    Publisher(None).publish(b"whatever")
    Publisher(None, "exchange", "fanout").publish(BODY, "a.b")


def test_a_bad_exchange_is_a_settings_error(url: str) -> None:
    with pytest.raises(SettingsError, match="EXCHANGE_TYPE must be one of"):
        Publisher(url, "events", "x-random")
    with pytest.raises(SettingsError, match=r"must not begin with 'amq\.'"):
        Publisher(url, "amq.topic")


def test_it_is_closed_after_disconnect_until_it_connects_again(url: str) -> None:
    consumer = tap(url)
    publisher, other = Publisher(url), Publisher(url)
    publisher.disconnect()
    publisher.disconnect()
    with pytest.raises(TransportClosed, match="connect"):
        publisher.publish(BODY)
    other.publish(BODY)
    publisher.connect()
    publisher.publish(BODY)

    assert len(received(consumer)) == 2


def test_as_a_context_manager_it_disconnects_at_the_end(url: str) -> None:
    consumer = tap(url)
    with Publisher(url) as publisher:
        publisher.publish(BODY)
    with pytest.raises(TransportClosed):
        publisher.publish(BODY)

    assert len(received(consumer)) == 1
