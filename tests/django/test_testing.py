"""The helpers for tests of projects, inside Django's `TestCase` and outside of it."""

from __future__ import annotations

from contextlib import suppress

import pytest
from django.db import transaction
from django.test import TestCase, TransactionTestCase, override_settings

from domain_event_broker import (
    DomainEvent,
    Outcome,
    Retry,
    publish_domain_event,
    publish_domain_events,
)
from domain_event_broker.django import domain_event_handler
from domain_event_broker.django import publish_domain_event as publish_using
from domain_event_broker.django.background import publisher
from domain_event_broker.django.capturing import capturing
from domain_event_broker.django.models import InboxEntry, OutboxEvent
from domain_event_broker.django.registry import Registry
from domain_event_broker.django.testing import captured_events, handle_events
from domain_event_broker.errors import HandlerError, InvalidEvent
from example_project.shop.models import Customer

from .command_runs import Handled
from .listener import Listener
from .scripted import ScriptedTransport

BOTH = {"default", "other"}


class Rollback(Exception):
    """Ends a transaction without effect."""


class TestCapturing(TestCase):
    databases = BOTH

    @pytest.fixture(autouse=True)
    def broker_at_hand(self, scripted: ScriptedTransport) -> None:
        self.scripted = scripted

    def test_what_is_published_is_kept_from_the_broker(self) -> None:
        with captured_events() as events:
            published = [
                publish_domain_event("user.registered", {"name": "Zoë"}, 7),
                *(DomainEvent(f"order.{number}") for number in range(2)),
            ]
            publish_domain_events(published[1:])

        assert list(events) == published
        assert len(events) == 3
        assert events[0].data == {"name": "Zoë"}
        assert events[-1].routing_key == "order.1"
        assert events[1:] == published[1:]
        assert events.routing_keys == ["user.registered", "order.0", "order.1"]
        assert repr(events).startswith("<CapturedEvents [DomainEvent('user.registered'")
        assert self.scripted.published == []
        assert not OutboxEvent.objects.exists()

    def test_it_is_there_from_the_call_on(self) -> None:
        with captured_events() as events, transaction.atomic():
            assert events.routing_keys == []
            publish_domain_event("order.placed", {})
            assert events.routing_keys == ["order.placed"]

    def test_a_savepoint_s_rollback_takes_its_events(self) -> None:
        with captured_events() as events:
            publish_domain_event("order.before", {})
            with suppress(Rollback), transaction.atomic():
                publish_domain_event("order.within", {})
                with transaction.atomic():
                    publish_domain_event("order.deeper", {})
                raise Rollback
            with transaction.atomic():
                publish_domain_event("order.after", {})

        assert events.routing_keys == ["order.before", "order.after"]

    def test_in_another_database_too(self) -> None:
        with captured_events() as events:
            publish_using("order.here", {}, using="default")
            with suppress(Rollback), transaction.atomic(using="other"):
                publish_using("order.there", {}, using="other")
                raise Rollback
            publish_using("order.there", {}, using="other")

        assert sorted(events.routing_keys) == ["order.here", "order.there"]

    def test_a_commit_that_is_played_changes_nothing(self) -> None:
        with captured_events() as events:
            for execute in (True, True, False):
                with self.captureOnCommitCallbacks(execute=execute):
                    publish_domain_event("order.placed", {})

        assert events.routing_keys == ["order.placed"] * 3
        assert self.scripted.published == []

    def test_the_innermost_block_keeps_it(self) -> None:
        with captured_events() as outer:
            publish_domain_event("order.outer", {})
            with captured_events() as inner:
                publish_domain_event("order.inner", {})
            publish_domain_event("order.outer", {})

        assert outer.routing_keys == ["order.outer"] * 2
        assert inner.routing_keys == ["order.inner"]

    def test_it_ends_with_the_block_however_that_ends(self) -> None:
        with suppress(Rollback), captured_events() as events:
            publish_domain_event("order.placed", {})
            raise Rollback

        assert capturing() is None
        assert events.routing_keys == ["order.placed"]
        publish_domain_event("order.stored", {})
        assert OutboxEvent.objects.get().routing_key == "order.stored"

    def test_the_outcome_is_that_of_a_transaction(self) -> None:
        with captured_events():
            (result,) = publish_domain_events([DomainEvent("order.placed")])

        assert result.outcome is Outcome.DEFERRED

    def test_what_cannot_be_published_is_refused(self) -> None:
        with captured_events() as events, pytest.raises(InvalidEvent):
            publish_domain_event("order.placed", {"items": {1, 2}})

        assert not events

    def test_without_a_broker_there_is_nothing(self) -> None:
        with captured_events() as events, override_settings(DOMAIN_EVENT_BROKER=None):
            publish_domain_event("order.placed", {})

        assert not events

    def test_an_explicit_broker_is_past_it(self) -> None:
        url = "memory://explicit"
        with Listener(url) as listener, captured_events() as events:
            publish_domain_event("order.placed", {}, connection_settings=url)
            assert listener.routing_keys == ["order.placed"]

        assert not events


class TestCapturingCommits(TransactionTestCase):
    databases = BOTH

    @pytest.fixture(autouse=True)
    def broker_at_hand(self, scripted: ScriptedTransport) -> None:
        self.scripted = scripted

    def test_what_is_committed_stays_and_nothing_else(self) -> None:
        with captured_events() as events:
            with transaction.atomic():
                publish_domain_event("order.committed", {})
            with suppress(Rollback), transaction.atomic():
                publish_domain_event("order.rolled-back", {})
                raise Rollback
            publish_domain_event("order.outside", {})
            with transaction.atomic():
                publish_domain_event("order.open", {})
                assert events.routing_keys == ["order.committed", "order.outside", "order.open"]

        assert events.routing_keys == ["order.committed", "order.outside", "order.open"]
        assert publisher.flush(30)
        assert self.scripted.published == []

    def test_outside_a_transaction_it_is_confirmed(self) -> None:
        with captured_events():
            (result,) = publish_domain_events([DomainEvent("order.placed")])

        assert result.outcome is Outcome.CONFIRMED


class TestHandling(TestCase):
    databases = BOTH

    @pytest.fixture(autouse=True)
    def registry_at_hand(self, handlers: Registry) -> None:
        """It is empty."""

    def test_each_handler_that_is_bound_handles_it(self) -> None:
        bill, mail = Handled("order.*", name="bill"), Handled("order.placed", name="mail")
        greet = Handled("user.*", name="greet")
        event = DomainEvent("order.placed", {"number": 1})

        assert handle_events(event) == ["bill", "mail"]
        assert bill.events == mail.events == [event]
        assert greet.events == []

    def test_several_events_in_their_order(self) -> None:
        Handled("order.*", name="bill")
        Handled("#", name="log")
        events = [DomainEvent("order.placed"), DomainEvent("user.left"), DomainEvent("order.paid")]

        assert handle_events(events) == ["bill", "log", "log", "bill", "log"]
        assert handle_events(iter([])) == []

    def test_only_the_handlers_that_are_named(self) -> None:
        Handled("order.*", name="bill")
        Handled("order.*", name="mail")
        event = DomainEvent("order.placed")

        assert handle_events(event, handlers=["mail", "nobody"]) == ["mail"]
        assert handle_events(event, handlers=[]) == []
        assert handle_events(event) == ["bill"]

    def test_a_copy_is_handled_once(self) -> None:
        bill = Handled("order.*", name="bill")
        log = Handled("#", name="log", inbox=False)
        event = DomainEvent("order.placed", uuid_string="an id")

        assert handle_events([event, event]) == ["bill", "log", "log"]
        assert handle_events(DomainEvent("order.paid", uuid_string="an id")) == ["log"]
        assert (len(bill.events), len(log.events)) == (1, 3)
        assert InboxEntry.objects.get().handler == "bill"

    def test_the_inbox_is_where_the_handler_wants_it(self) -> None:
        Handled("order.*", name="bill", using="other")
        handle_events(DomainEvent("order.placed", uuid_string="an id"))

        assert InboxEntry.objects.using("other").get().event_id == "an id"
        assert not InboxEntry.objects.exists()

    def test_what_a_handler_raises_is_raised_and_undone(self) -> None:
        for error in (ValueError("no such order"), Retry(5)):
            with self.subTest(error=error):

                def add_and_fail(event: DomainEvent, error: Exception = error) -> None:
                    Customer.objects.create(name="Ada", email="ada@example.com")
                    raise error

                name = type(error).__name__
                domain_event_handler(f"order.{name}", name=name)(lambda e: add_and_fail(e))
                with pytest.raises(type(error)) as caught:
                    handle_events(DomainEvent(f"order.{name}"))
                assert caught.value is error
                assert not Customer.objects.exists()
                assert not InboxEntry.objects.exists()

    def test_what_handlers_publish_can_be_captured_and_handed_on(self) -> None:
        def pass_on(event: DomainEvent) -> None:
            publish_domain_event("bill.sent", {"order": event.data["number"]})

        domain_event_handler("order.*", name="bill")(pass_on)
        mail = Handled("bill.*", name="mail")
        with captured_events() as events:
            publish_domain_event("order.placed", {"number": 7}, uuid_string="an id")
            handled = handle_events(events)
            # What came meanwhile is not handled by itself.
            assert handled == ["bill"]
            assert mail.events == []
            assert handle_events(events[1:]) == ["mail"]

        assert events.routing_keys == ["order.placed", "bill.sent"]
        assert mail.events == [events[1]]

    def test_what_a_failing_handler_published_is_gone(self) -> None:
        def publish_and_fail(event: DomainEvent) -> None:
            publish_domain_event("bill.sent", {})
            raise ValueError

        domain_event_handler("order.*", name="bill")(publish_and_fail)
        with captured_events() as events, suppress(ValueError):
            handle_events(DomainEvent("order.placed"))

        assert not events

    def test_a_wrong_handler_is_refused(self) -> None:
        domain_event_handler("order*", name="bill")(print)

        with pytest.raises(HandlerError):
            handle_events(DomainEvent("order.placed"))


def test_what_is_captured_names_its_cause(
    db: None, handlers: Registry, scripted: ScriptedTransport
) -> None:
    def pass_on(event: DomainEvent) -> None:
        publish_domain_event("bill.sent", {})

    domain_event_handler("order.*", name="bill")(pass_on)
    with captured_events():
        handle_events(DomainEvent("order.placed", uuid_string="an id"))
        capture = capturing()
        assert capture is not None
        (message,) = capture.messages()

    assert message.correlation_id == "an id"
    assert message.headers == {"deb-causation-id": "an id"}
