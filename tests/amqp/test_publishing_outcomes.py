"""What became of each event, and what cannot be published at all."""

from __future__ import annotations

import logging
import secrets

import pytest

from domain_event_broker import (
    DomainEvent,
    Outcome,
    Publisher,
    publish_domain_event,
    publish_domain_events,
)
from domain_event_broker.encoding import encode_body
from domain_event_broker.errors import EventTooLarge, InvalidEvent, UnroutableEvent
from tests.support.raw_amqp import bind_queue, raw_channel, ready_count, take_all, take_one

LIMIT = 1024 * 1024


@pytest.fixture
def url(broker_url: str) -> str:
    """A broker with a queue, `seen`, that gets all events of users."""
    bind_queue(broker_url, "seen", "user.#")
    return broker_url


def test_outcomes_are_in_the_order_of_the_events(url: str) -> None:
    events = [
        DomainEvent("user.left" if n % 7 else f"nobody.hears.{n % 70}", {"n": n})
        for n in range(3_000)
    ]
    results = publish_domain_events(events, {"URL": url, "UNROUTABLE": "ignore"})
    expected = [Outcome.CONFIRMED if n % 7 else Outcome.UNROUTABLE for n in range(3_000)]
    assert [result.outcome for result in results] == expected
    assert [result.error for result in results] == [None] * 3_000
    stored = [DomainEvent.from_json(message.body).data["n"] for message in take_all(url, "seen")]
    assert stored == [n for n in range(3_000) if n % 7]


def test_equal_events_have_outcomes_of_their_own(url: str) -> None:
    """What the broker returns names the event's id and key, but no delivery tag."""
    events = [
        DomainEvent(key, {}, uuid_string="the-same")
        for key in ["user.left", "nobody.hears", "user.left", "nobody.hears", "nobody.hears"]
    ]
    results = publish_domain_events(events, {"URL": url, "UNROUTABLE": "ignore"})
    assert [result.outcome is Outcome.CONFIRMED for result in results] == [
        *(True, False),
        *(True, False, False),
    ]


def test_nothing_is_published_by_no_events(url: str) -> None:
    assert publish_domain_events([], url) == []


def test_unroutable_events_may_be_ignored(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "domain_event_broker"):
        settings = {"URL": url, "UNROUTABLE": "ignore"}
        publish_domain_event("nobody.hears", {}, connection_settings=settings)
    assert "nobody.hears" not in caplog.text


def test_unroutable_events_are_logged_once_per_routing_key(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    # Once for the whole process, in which this test may run several times.
    keys = [f"nobody.{secrets.token_hex(4)}" for _ in range(2)]
    for key in [*keys, *keys]:
        publish_domain_event(key, {}, connection_settings=url)
    said = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert [sum(key in line for line in said) for key in keys] == [1, 1]


def test_a_key_that_reaches_nobody_again_is_logged_again(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody has unbound its queue."""
    key = f"passing.{secrets.token_hex(4)}"
    for _ in range(2):
        publish_domain_event(key, {}, connection_settings=url)
        bind_queue(url, "seen", key)
        publish_domain_event(key, {}, connection_settings=url)
        with raw_channel(url) as channel:
            channel.queue_unbind("seen", "domain-events", key)
    said = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert sum(key in line for line in said) == 2


def test_unroutable_events_may_be_errors(url: str) -> None:
    strict = {"URL": url, "UNROUTABLE": "raise"}
    with pytest.raises(UnroutableEvent, match=r"nobody\.hears"):
        publish_domain_event("nobody.hears", {}, connection_settings=strict)
    with pytest.raises(UnroutableEvent):
        Publisher(strict).publish(b"{}", "nobody.hears")
    heard, unheard = publish_domain_events(
        [DomainEvent("user.left"), DomainEvent("nobody.hears")], strict
    )
    assert (heard.outcome, heard.error) == (Outcome.CONFIRMED, None)
    assert unheard.outcome is Outcome.UNROUTABLE
    assert isinstance(unheard.error, UnroutableEvent)


def of_size(size: int) -> DomainEvent:
    event = DomainEvent("user.left", {"text": ""})
    event.data["text"] = "x" * (size - len(encode_body(event)))
    assert len(encode_body(event)) == size
    return event


@pytest.mark.parametrize("size", [LIMIT - 1, LIMIT])
def test_an_event_up_to_the_limit_arrives_whole(url: str, size: int) -> None:
    event = of_size(size)
    (result,) = publish_domain_events([event], url)
    assert result.outcome is Outcome.CONFIRMED
    assert take_one(url, "seen").body == encode_body(event)


def test_an_event_beyond_the_limit_is_refused_before_any_is_sent(url: str) -> None:
    with pytest.raises(EventTooLarge, match=str(LIMIT + 1)):
        publish_domain_events([DomainEvent("user.left"), of_size(LIMIT + 1)], url)
    with pytest.raises(EventTooLarge):
        Publisher(url).publish(b"x" * (LIMIT + 1), "user.left")
    assert ready_count(url, "seen") == 0
    publish_domain_event("user.left", {}, connection_settings=url)
    assert ready_count(url, "seen") == 1


def test_the_limit_can_be_set(url: str) -> None:
    settings = {"URL": url, "MAX_EVENT_BYTES": 300}
    assert publish_domain_events([of_size(300)], settings)[0].outcome is Outcome.CONFIRMED
    with pytest.raises(EventTooLarge):
        publish_domain_events([of_size(301)], settings)


@pytest.mark.parametrize("key", ["user." + "x" * 250, "user." + "é" * 125])
def test_a_routing_key_of_255_bytes_arrives(url: str, key: str) -> None:
    assert len(key.encode()) == 255
    publish_domain_event(key, {}, connection_settings={"URL": url, "UNROUTABLE": "raise"})
    assert take_one(url, "seen").routing_key == key


@pytest.mark.parametrize("key", ["user." + "x" * 251, "user.x" + "é" * 125])
def test_a_routing_key_of_256_bytes_is_refused(url: str, key: str) -> None:
    assert len(key.encode()) == 256
    with pytest.raises(InvalidEvent, match="256 bytes"):
        publish_domain_event(key, {}, connection_settings=url)
    with pytest.raises(InvalidEvent, match="256 bytes"):
        Publisher(url).publish(b"{}", key)
    publish_domain_event("user.left", {}, connection_settings=url)
    assert ready_count(url, "seen") == 1
