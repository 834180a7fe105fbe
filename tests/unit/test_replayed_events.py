"""What becomes of an event that `replay_all` puts back on its handler's queue."""

from dataclasses import replace
from typing import Any

import pytest

from domain_event_broker import RETRY, DomainEvent, Retry, publish_domain_event, replay_all
from domain_event_broker.errors import UnknownQueue
from domain_event_broker.messages import Message
from domain_event_broker.settings import Settings
from domain_event_broker.transports import transport_for
from domain_event_broker.transports.base import Subscription

from .helpers import (
    Recorder,
    dead_letters,
    drain,
    fail_some,
    handle_rest,
    publish_raw,
    raising,
    received,
    subscriber,
)


def test_a_replayed_event_starts_anew(url: str) -> None:
    handler = Recorder(raising(Retry(0)))
    subscribed = subscriber(url, handler, max_retries=2)
    headers = {"tenant": "x", "deb-causation-id": "cause"}
    publish_raw(url, Message("a.b", b'{"data": 1}', message_id="the-id", headers=headers))
    drain(subscribed)
    assert [event.retries for event in handler.events] == [0, 1, 2]
    replay_all("handler", connection_settings=url)
    drain(subscribed)

    assert [event.retries for event in handler.events] == [0, 1, 2, 0, 1, 2]
    assert {event.uuid_string for event in handler.events} == {"the-id"}


def test_a_replayed_message_keeps_what_is_not_about_its_failure(url: str) -> None:
    fail_some(url, 0)
    message = Message(
        "fails.now",
        b'{"data": 1}',
        message_id="the-id",
        correlation_id="beginning",
        app_id="theirs",
        headers={"tenant": "x", "deb-causation-id": "cause", "x-death": [1]},
    )
    publish_raw(url, message)
    drain(subscriber(url, raising(ValueError()), binding_keys=["fails.*"]))
    replay_all("handler", connection_settings=url)

    consumer = transport_for(Settings(url=url)).consumer()
    consumer.subscribe(Subscription("handler", ("fails.*",)))
    consumer.start()
    (replayed,) = received(consumer)
    headers = {"tenant": "x", "deb-causation-id": "cause", "deb-routing-key": "fails.now"}
    assert replayed == replace(message, headers=headers)


def test_a_replay_reaches_its_own_handler_alone(url: str) -> None:
    fail_some(url, 2)
    other = Recorder()
    bystander = subscriber(url, other, "other", ["fails.*"])
    replay_all("handler", connection_settings=url)
    drain(bystander)

    assert other.events == []
    assert handle_rest(url) == [0, 1]


def test_events_that_fail_again_meanwhile_are_left_and_not_offered_again(url: str) -> None:
    fail_some(url, 3)
    failing = subscriber(url, Recorder(raising(ValueError("again"))), "handler", ["fails.*"])

    offered: list[int] = []

    def replay_and_fail(body: bytes, **_: Any) -> str:
        offered.append(DomainEvent.from_json(body).data)
        drain(failing)
        return RETRY

    assert replay_all("handler", replay_and_fail, url) == 2
    assert sorted(offered) == [0, 1, 2]
    drain(failing)
    assert len(dead_letters(url)) == 3


def test_dead_letters_of_a_handler_whose_queue_is_gone_stay(url: str) -> None:
    failing = Recorder(raising(ValueError()))
    subscribed = subscriber(url, failing, auto_delete=True, dead_letter=True)
    publish_domain_event("a.b", 1, connection_settings=url)
    drain(subscribed)
    with pytest.raises(UnknownQueue, match="has no queue to replay to"):
        replay_all("handler", connection_settings=url)

    assert len(dead_letters(url)) == 1
