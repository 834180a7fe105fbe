"""`publish_domain_event` and `publish_domain_events` on the broker in memory."""

import logging
from typing import Any

import pytest

import domain_event_broker.settings as settings_module
from domain_event_broker import (
    DomainEvent,
    Outcome,
    PublishResult,
    publish_domain_event,
    publish_domain_events,
)
from domain_event_broker.errors import (
    EventTooLarge,
    InvalidEvent,
    SettingsError,
    TopologyMismatch,
    UnroutableEvent,
)
from domain_event_broker.publishing import set_default_publish
from domain_event_broker.settings import Settings

from .helpers import Recorder, drain, received, subscriber, tap


def outcomes(results: list[PublishResult]) -> list[Outcome]:
    return [result.outcome for result in results]


def test_an_event_is_returned_and_delivered(url: str) -> None:
    handler = Recorder()
    subscribed = subscriber(url, handler, binding_keys=["user.*"])
    event = publish_domain_event(
        "user.registered", {"user_id": 1}, "42", "the-id", 1.5, connection_settings=url
    )
    drain(subscribed)

    assert event.event_data == {
        "routing_key": "user.registered",
        "data": {"user_id": 1},
        "domain_object_id": "42",
        "uuid_string": "the-id",
        "timestamp": 1.5,
    }
    assert handler.events == [event]


def test_without_a_broker_the_event_is_still_returned() -> None:
    event = publish_domain_event("user.registered", {"user_id": 1}, connection_settings=None)

    assert event.data == {"user_id": 1}
    assert outcomes(publish_domain_events([event, event], None)) == [Outcome.SKIPPED] * 2


def test_an_empty_string_means_the_default_broker(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = Recorder()
    subscribed = subscriber(url, handler)
    monkeypatch.setattr(settings_module, "BROKER", url)
    publish_domain_event("a.b", 1)
    publish_domain_event("a.b", 2, connection_settings="")
    publish_domain_events([DomainEvent("a.b", 3)])
    monkeypatch.setattr(settings_module, "BROKER", {"URL": url})
    publish_domain_event("a.b", 4)
    monkeypatch.setattr(settings_module, "BROKER", None)
    publish_domain_event("a.b", 5)
    drain(subscribed)

    assert handler.data == [1, 2, 3, 4]


@pytest.mark.parametrize("kind", [dict, Settings])
def test_a_broker_may_be_given_as_settings(url: str, kind: type) -> None:
    handler = Recorder()
    subscribed = subscriber(url, handler)
    given: Any = {"URL": url} if kind is dict else Settings(url=url)
    publish_domain_event("a.b", 1, connection_settings=given)
    drain(subscribed)

    assert handler.data == [1]


def test_the_service_is_named_as_the_application(url: str) -> None:
    consumer = tap(url)
    publish_domain_event("a.b", 1, connection_settings={"URL": url, "SERVICE": "shop"})

    assert [message.app_id for message in received(consumer)] == ["shop"]


def test_the_results_are_in_the_order_of_the_events(url: str) -> None:
    subscriber(url, Recorder(), binding_keys=["bound.*"])
    keys = ["bound.one", "nobody.listens", "bound.two", "nobody.cares"]
    results = publish_domain_events([DomainEvent(key) for key in keys], url)

    assert outcomes(results) == [
        Outcome.CONFIRMED,
        Outcome.UNROUTABLE,
        Outcome.CONFIRMED,
        Outcome.UNROUTABLE,
    ]
    assert [result.error for result in results] == [None] * 4


def test_events_are_delivered_in_the_order_of_publishing(url: str) -> None:
    handler = Recorder()
    subscribed = subscriber(url, handler)
    publish_domain_events((DomainEvent("a.b", number) for number in range(100)), url)
    drain(subscribed)

    assert handler.data == list(range(100))


def test_nothing_to_publish_has_no_results(url: str) -> None:
    assert publish_domain_events([], url) == []
    assert publish_domain_events([], None) == []


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (DomainEvent("a.b", float("nan")), InvalidEvent),
        (DomainEvent("", {}), InvalidEvent),
        (DomainEvent("a.b", "x" * 2_000), EventTooLarge),
        ("no event", InvalidEvent),
    ],
)
def test_all_events_are_encoded_before_the_first_is_sent(
    url: str, bad: Any, error: type[Exception]
) -> None:
    handler = Recorder()
    subscribed = subscriber(url, handler)
    with pytest.raises(error):
        publish_domain_events([DomainEvent("a.b"), bad], {"URL": url, "MAX_EVENT_BYTES": 1_000})
    drain(subscribed)

    assert handler.events == []


def test_an_unroutable_event_is_logged_once_per_routing_key(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    key, other = f"{url}.one", f"{url}.other"
    with caplog.at_level(logging.WARNING, "domain_event_broker"):
        results = publish_domain_events(
            [DomainEvent(key, "payload"), DomainEvent(key), DomainEvent(other)], url
        )
        publish_domain_event(key, {}, connection_settings=url)

    assert outcomes(results) == [Outcome.UNROUTABLE] * 3
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert key in messages[0]
    assert other in messages[1]
    assert "payload" not in messages[0]


def test_an_unroutable_event_is_ignored_if_the_settings_say_so(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"URL": url, "UNROUTABLE": "ignore"}
    publish_domain_event("a.b", {}, connection_settings=settings)
    (result,) = publish_domain_events([DomainEvent("a.b")], settings)

    assert result == PublishResult(Outcome.UNROUTABLE)
    assert caplog.records == []


def test_an_unroutable_event_is_an_error_if_the_settings_say_so(url: str) -> None:
    subscriber(url, Recorder(), binding_keys=["bound.*"])
    settings = {"URL": url, "UNROUTABLE": "raise"}
    with pytest.raises(UnroutableEvent, match=r"No queue is bound for 'a\.b'"):
        publish_domain_event("a.b", {}, connection_settings=settings)
    good, bad = publish_domain_events([DomainEvent("bound.x"), DomainEvent("a.b")], settings)

    assert good == PublishResult(Outcome.CONFIRMED)
    assert bad.outcome is Outcome.UNROUTABLE
    assert isinstance(bad.error, UnroutableEvent)


def test_the_data_is_that_of_the_call(url: str) -> None:
    handler = Recorder()
    subscribed = subscriber(url, handler)
    data = {"state": "before"}
    publish_domain_event("a.b", data, connection_settings=url)
    data["state"] = "after"
    drain(subscribed)

    assert handler.data == [{"state": "before"}]


@pytest.mark.parametrize("setting", ["kafka://host/", "no url", 5, {"PREFECTH": 1}])
def test_a_bad_broker_is_a_settings_error(setting: Any) -> None:
    with pytest.raises(SettingsError):
        publish_domain_event("a.b", {}, connection_settings=setting)


def test_an_exchange_of_another_type_is_a_mismatch(url: str) -> None:
    subscriber(url, Recorder())
    with pytest.raises(TopologyMismatch, match="is of type 'topic' already, not 'fanout'"):
        publish_domain_event("a.b", {}, connection_settings={"URL": url, "EXCHANGE_TYPE": "fanout"})


def test_an_integration_may_take_over_the_default_broker_alone(url: str) -> None:
    taken: list[DomainEvent] = []

    def take(events: Any) -> list[PublishResult]:
        taken.extend(events)
        return [PublishResult(Outcome.DEFERRED)] * len(events)

    set_default_publish(take)
    event = publish_domain_event("a.b", 1)
    assert outcomes(publish_domain_events([event])) == [Outcome.DEFERRED]
    publish_domain_event("a.b", 2, connection_settings=url)
    publish_domain_event("a.b", 3, connection_settings=None)

    assert [event.data for event in taken] == [1, 1]
