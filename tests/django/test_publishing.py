"""Publishing in a Django project: now, at the commit, or never."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import pytest
from django.db import connections, transaction
from django.test import TestCase, override_settings
from pytest_django import Settings

import domain_event_broker
from domain_event_broker import DomainEvent, Outcome, Publisher, publish_domain_events
from domain_event_broker import django as app
from domain_event_broker.django.transactions import UnclearTransaction
from domain_event_broker.errors import (
    EventTooLarge,
    InvalidEvent,
    SettingsError,
    UnroutableEvent,
)
from tests.support.ports import free_ports

from .conftest import PASSWORD
from .listener import Listener
from .marks import both_databases

Publish = Callable[..., DomainEvent]

pytestmark = both_databases

each_way = pytest.mark.parametrize(
    "publish",
    [
        domain_event_broker.publish_domain_event,
        app.publish_domain_event,
        app.publish_on_commit,
    ],
    ids=["core", "app", "3.x"],
)


class Rollback(Exception):
    """Ends a transaction without effect."""


@contextmanager
def rolled_back(using: str | None = None) -> Iterator[None]:
    """A transaction, or a savepoint in one, that fails at its end."""
    with suppress(Rollback), transaction.atomic(using=using):
        yield
        raise Rollback


@each_way
def test_a_commit_publishes_in_order(publish: Publish, listener: Listener) -> None:
    with transaction.atomic():
        events = [publish(f"order.{number}", {"number": number}) for number in range(3)]
        with transaction.atomic():
            events.append(publish("order.3", {"number": 3}))
        assert listener.events == []

    assert listener.events == events


@each_way
def test_a_rollback_publishes_nothing(publish: Publish, listener: Listener) -> None:
    with rolled_back():
        publish("order.placed", {})

    publish("order.next", {})
    assert listener.routing_keys == ["order.next"]


@each_way
def test_a_rolled_back_savepoint_publishes_nothing_of_it(
    publish: Publish, listener: Listener
) -> None:
    with transaction.atomic():
        publish("order.before", {})
        with rolled_back():
            publish("order.within", {})
        publish("order.after", {})

    assert listener.routing_keys == ["order.before", "order.after"]


@each_way
def test_a_transaction_marked_for_rollback_publishes_nothing(
    publish: Publish, listener: Listener
) -> None:
    with transaction.atomic():
        publish("order.placed", {})
        transaction.set_rollback(True)

    assert listener.events == []


@each_way
def test_the_event_is_that_of_the_call(publish: Publish, listener: Listener) -> None:
    data = {"items": ["book"], "price": 1}

    with transaction.atomic():
        event = publish("order.placed", data, domain_object_id=7)
        said = json.loads(json.dumps(event.event_data))
        data["price"] = 2
        data["items"] = []

    assert [arrived.event_data for arrived in listener.events] == [said]
    assert said["data"] == {"items": ["book"], "price": 1}


@each_way
def test_outside_a_transaction_it_is_published_at_once(
    publish: Publish, listener: Listener
) -> None:
    event = publish("order.placed", {})

    assert listener.events == [event]


@each_way
def test_what_cannot_be_encoded_fails_at_the_call(publish: Publish, listener: Listener) -> None:
    with transaction.atomic():
        with pytest.raises(InvalidEvent, match="set is not JSON"):
            publish("order.placed", {"items": {1, 2}})
        with pytest.raises(EventTooLarge):
            publish("order.placed", {"text": "x" * 2_000_000})

    assert listener.events == []


@each_way
def test_bad_settings_fail_at_the_call(publish: Publish, settings: Settings) -> None:
    settings.DOMAIN_EVENT_BROKER = {"URL": "memory://one", "EXCHAGNE": "x"}

    with transaction.atomic(), pytest.raises(SettingsError, match="Did you mean 'EXCHANGE'"):
        publish("order.placed", {})


@each_way
@pytest.mark.parametrize("in_transaction", [True, False])
def test_without_a_broker_the_event_is_returned(
    publish: Publish, settings: Settings, in_transaction: bool
) -> None:
    settings.DOMAIN_EVENT_BROKER = None

    with transaction.atomic() if in_transaction else override_settings():
        event = publish("order.placed", {"number": 1}, "7")

    assert event.routing_key == "order.placed"
    assert event.data == {"number": 1}


@each_way
def test_the_settings_are_those_of_the_call(publish: Publish, listener: Listener) -> None:
    with transaction.atomic():
        publish("order.placed", {})
        with override_settings(DOMAIN_EVENT_BROKER=None):
            publish("order.ignored", {})
        with override_settings(DOMAIN_EVENT_BROKER="memory://elsewhere"):
            publish("order.elsewhere", {})

    assert listener.routing_keys == ["order.placed"]


@each_way
def test_an_explicit_broker_publishes_at_once(
    publish: Publish, broker: str, listener: Listener
) -> None:
    with rolled_back():
        publish("order.placed", {}, connection_settings=broker)
        assert listener.routing_keys == ["order.placed"]

    assert listener.routing_keys == ["order.placed"]


@each_way
def test_explicitly_no_broker_sends_nothing(publish: Publish, listener: Listener) -> None:
    with transaction.atomic():
        assert publish("order.placed", {}, connection_settings=None).data == {}

    assert listener.events == []


def test_a_publisher_publishes_at_once(listener: Listener) -> None:
    with transaction.atomic():
        Publisher().publish(b'{"routing_key": "order.placed"}')

        assert listener.routing_keys == ["order.placed"]


def test_what_is_published_names_the_service(listener: Listener) -> None:
    with transaction.atomic():
        app.publish_domain_event("order.placed", {})

    assert [message.app_id for message in listener.messages] == ["shop"]


class TestUsing:
    """Which database's commit counts."""

    @pytest.mark.parametrize("using", ["other", None])
    def test_the_other_database_s_commit_publishes(
        self, using: str | None, listener: Listener
    ) -> None:
        with transaction.atomic(using="other"):
            app.publish_domain_event("order.placed", {}, using=using)
            assert listener.events == []

        assert listener.routing_keys == ["order.placed"]

    @pytest.mark.parametrize("using", ["other", None])
    def test_the_other_database_s_rollback_publishes_nothing(
        self, using: str | None, listener: Listener
    ) -> None:
        with rolled_back(using="other"):
            app.publish_domain_event("order.placed", {}, using=using)

        assert listener.events == []

    def test_the_default_database_comes_first(self, listener: Listener) -> None:
        with transaction.atomic():
            with transaction.atomic(using="other"):
                app.publish_domain_event("order.placed", {})
            assert listener.events == []

        assert listener.routing_keys == ["order.placed"]

    def test_a_named_database_without_a_transaction_publishes_at_once(
        self, listener: Listener
    ) -> None:
        with transaction.atomic():
            app.publish_domain_event("order.placed", {}, using="other")

            assert listener.routing_keys == ["order.placed"]

    def test_several_databases_besides_the_default_are_unclear(self, listener: Listener) -> None:
        connections.settings["third"] = connections.settings["other"]
        try:
            connections["third"].in_atomic_block = True
            with transaction.atomic(using="other"):
                with pytest.raises(UnclearTransaction, match=r"'other', 'third'.*using="):
                    app.publish_domain_event("order.placed", {})
                app.publish_domain_event("order.paid", {}, using="other")
        finally:
            del connections["third"], connections.settings["third"]

        assert listener.routing_keys == ["order.paid"]

    def test_without_autocommit_there_is_no_commit_to_wait_for(self, listener: Listener) -> None:
        transaction.set_autocommit(False)
        try:
            with pytest.raises(UnclearTransaction, match="Autocommit is off on 'default'"):
                app.publish_domain_event("order.placed", {})
        finally:
            transaction.rollback()
            transaction.set_autocommit(True)

        assert listener.events == []

    def test_a_database_and_an_explicit_broker_exclude_each_other(self, broker: str) -> None:
        with pytest.raises(SettingsError, match="not both"):
            app.publish_domain_event(
                "order.placed", {}, connection_settings=broker, using="default"
            )

    def test_an_unknown_database_is_refused(self) -> None:
        with pytest.raises(Exception, match="nowhere"):
            app.publish_domain_event("order.placed", {}, using="nowhere")


class TestMany:
    """`publish_domain_events`."""

    def test_in_a_transaction_all_are_deferred(self, listener: Listener) -> None:
        events = [DomainEvent(f"order.{number}") for number in range(3)]

        with transaction.atomic():
            results = publish_domain_events(events)
            assert listener.events == []

        assert [result.outcome for result in results] == [Outcome.DEFERRED] * 3
        assert [result.error for result in results] == [None] * 3
        assert listener.events == events

    def test_outside_of_one_the_outcomes_are_the_broker_s(
        self, listener: Listener, settings: Settings
    ) -> None:
        events = [DomainEvent("order.placed")]

        assert [result.outcome for result in publish_domain_events(events)] == [Outcome.CONFIRMED]
        with override_settings(DOMAIN_EVENT_BROKER=None):
            assert [r.outcome for r in publish_domain_events(events)] == [Outcome.SKIPPED]
        assert listener.events == events

    def test_one_that_cannot_be_encoded_keeps_all_back(self, listener: Listener) -> None:
        events = [DomainEvent("order.placed"), DomainEvent("order.placed", {"x": object()})]

        with transaction.atomic(), pytest.raises(InvalidEvent):
            publish_domain_events(events)

        assert listener.events == []


class TestFailure:
    """The broker does not take the event."""

    @pytest.fixture
    def refusing(self, settings: Settings, broker: str) -> None:
        # Nobody listens, and that is an error.
        settings.DOMAIN_EVENT_BROKER = {"URL": broker, "UNROUTABLE": "raise"}

    @each_way
    def test_after_the_commit_it_is_logged_and_disturbs_nobody(
        self, publish: Publish, refusing: None, caplog: pytest.LogCaptureFixture
    ) -> None:
        done: list[str] = []
        with transaction.atomic():
            event = publish("order.placed", {"card": "1234-5678"})
            transaction.on_commit(partial(done.append, "the next hook"))

        assert done == ["the next hook"]
        (record,) = caplog.records
        assert record.levelno == logging.ERROR
        assert event.uuid_string in record.getMessage()
        assert "'order.placed'" in record.getMessage()
        assert "1234-5678" not in caplog.text
        assert record.exc_info is not None
        assert isinstance(record.exc_info[1], UnroutableEvent)

    @each_way
    def test_outside_a_transaction_it_is_raised(self, publish: Publish, refusing: None) -> None:
        with pytest.raises(UnroutableEvent):
            publish("order.placed", {})

    def test_each_event_of_many_is_logged(
        self, refusing: None, caplog: pytest.LogCaptureFixture
    ) -> None:
        events = [DomainEvent("order.placed"), DomainEvent("order.paid")]

        with transaction.atomic():
            publish_domain_events(events)

        for event, record in zip(events, caplog.records, strict=True):
            assert event.uuid_string in record.getMessage()

    def test_a_broker_that_is_away_is_logged_with_its_cause(
        self, settings: Settings, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.DOMAIN_EVENT_BROKER = nowhere()

        with transaction.atomic():
            event = app.publish_domain_event("order.placed", {"card": "1234-5678"})

        record = caplog.records[-1]
        assert record.name == "domain_event_broker.django.deferring"
        assert event.uuid_string in record.getMessage()
        assert record.exc_info
        assert PASSWORD not in caplog.text
        assert "1234-5678" not in caplog.text


def nowhere() -> dict[str, Any]:
    """Settings of a broker that is not there, with nothing stored for when it is."""
    return {
        "URL": f"amqp://shop:{PASSWORD}@127.0.0.1:{free_ports(1)[0]}/%2F",
        "PUBLISH_TIMEOUT": 0.2,
        "OUTBOX": False,
    }


class TestInDjangosTestCase(TestCase):
    """Inside of a test that never commits, Django's own helper applies."""

    def test_callbacks_can_be_captured(self) -> None:
        url = "memory://captured"
        with Listener(url) as listener, override_settings(DOMAIN_EVENT_BROKER=url):
            with self.captureOnCommitCallbacks(execute=True) as callbacks:
                app.publish_domain_event("order.placed", {})
                assert listener.events == []

            assert len(callbacks) == 1
            assert listener.routing_keys == ["order.placed"]
