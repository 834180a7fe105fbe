"""Publishing into queues of the same database: part of the caller's transaction."""

from __future__ import annotations

from contextlib import suppress

import pytest
from django.db import transaction
from django.test import TestCase
from pytest_django import Settings

from domain_event_broker import DomainEvent, Outcome, publish_domain_event, publish_domain_events
from domain_event_broker.django import conf
from domain_event_broker.django import publish_domain_event as publish_using
from domain_event_broker.django.background import publisher
from domain_event_broker.django.databases import MissingTables
from domain_event_broker.django.models import Exchange, OutboxEvent, QueuedMessage
from domain_event_broker.django.sending import outbox
from domain_event_broker.errors import TopologyMismatch, UnroutableEvent
from domain_event_broker.transports import transport_for
from domain_event_broker.transports.base import Subscription
from tests.django.databases import without_table
from tests.django.listener import Listener
from tests.django.marks import both_databases

pytestmark = both_databases

DEFAULT = "default"


@pytest.fixture(autouse=True)
def broker(settings: Settings) -> str:
    url = "database://"
    settings.DOMAIN_EVENT_BROKER = {"URL": url, "SERVICE": "shop"}
    return url


def waiting(using: str = DEFAULT) -> list[str]:
    """The ids of what waits in queues."""
    return list(
        QueuedMessage.objects.using(using).order_by("pk").values_list("event_id", flat=True)
    )


class TestTransaction:
    def test_the_event_is_in_the_queues_before_the_commit(self, listener: Listener) -> None:
        with transaction.atomic():
            event = publish_domain_event("order.placed", {"name": "Zoë"}, 7)

            assert waiting() == [event.uuid_string]
            assert not OutboxEvent.objects.exists()
        assert listener.events == [event]

    def test_a_rollback_takes_it_out_again(self, listener: Listener) -> None:
        with suppress(ZeroDivisionError), transaction.atomic():
            publish_domain_event("order.placed", {})
            raise ZeroDivisionError

        assert waiting() == []
        assert listener.events == []

    def test_so_does_that_of_a_savepoint(self, listener: Listener) -> None:
        with transaction.atomic():
            publish_domain_event("order.before", {})
            with suppress(ZeroDivisionError), transaction.atomic():
                publish_domain_event("order.within", {})
                raise ZeroDivisionError
            publish_domain_event("order.after", {})

        assert listener.routing_keys == ["order.before", "order.after"]

    def test_outside_of_one_it_is_there_at_once(self, listener: Listener) -> None:
        event = publish_domain_event("order.placed", {})

        assert listener.events == [event]

    def test_nobody_else_need_send_it(self, listener: Listener) -> None:
        with without_table(OutboxEvent, DEFAULT):
            with transaction.atomic():
                publish_domain_event("order.placed", {})
            publish_domain_event("order.paid", {})

        assert publisher._thread is None
        assert listener.routing_keys == ["order.placed", "order.paid"]

    def test_each_queue_has_a_row_of_its_own(self, broker: str) -> None:
        with Listener(broker, "first") as first, Listener(broker, "second", "order.*") as second:
            with transaction.atomic():
                publish_domain_event("order.placed", {}, uuid_string="order")
                publish_domain_event("user.left", {}, uuid_string="user")
            assert sorted(waiting()) == ["order", "order", "user"]

            assert first.routing_keys == ["order.placed", "user.left"]
            assert second.routing_keys == ["order.placed"]

    def test_many_are_one_transaction(self, listener: Listener) -> None:
        events = [DomainEvent("order.placed", {"number": number}) for number in range(1_200)]
        publish_domain_events(events)

        assert waiting() == [event.uuid_string for event in events]


class TestOutcomes:
    def test_in_a_transaction_they_are_deferred_and_else_confirmed(
        self, listener: Listener
    ) -> None:
        event = DomainEvent("order.placed")
        with transaction.atomic():
            (inside,) = publish_domain_events([event])
        (outside,) = publish_domain_events([event])

        assert (inside.outcome, outside.outcome) == (Outcome.DEFERRED, Outcome.CONFIRMED)

    def test_that_nobody_is_bound_is_known_at_once(self, broker: str, settings: Settings) -> None:
        settings.DOMAIN_EVENT_BROKER = {"URL": broker, "UNROUTABLE": "raise"}
        with transaction.atomic():
            with pytest.raises(UnroutableEvent):
                publish_domain_event("order.placed", {})
            # The transaction is as good as before.
            (result,) = publish_domain_events([DomainEvent("order.paid")])

        assert result.outcome is Outcome.UNROUTABLE

    def test_each_has_its_own(self, broker: str) -> None:
        with Listener(broker, "bound", "order.*"), transaction.atomic():
            results = publish_domain_events(
                [DomainEvent("order.placed"), DomainEvent("user.left"), DomainEvent("order.paid")]
            )

        assert [result.outcome for result in results] == [
            Outcome.DEFERRED,
            Outcome.UNROUTABLE,
            Outcome.DEFERRED,
        ]

    def test_an_exchange_of_another_type_is_raised(self, listener: Listener) -> None:
        Exchange.objects.update(type="fanout")
        with transaction.atomic():
            with pytest.raises(TopologyMismatch, match="'domain-events' is of type 'fanout'"):
                publish_domain_event("order.placed", {})
            assert not QueuedMessage.objects.exists()

    def test_before_migrate_it_says_so(self, broker: str) -> None:
        with without_table(Exchange, DEFAULT), pytest.raises(MissingTables, match="migrate"):
            publish_domain_event("order.placed", {})


class TestAnotherDatabase:
    """The event's transaction is not that of the queues: it goes through the outbox."""

    def test_it_is_stored_and_sent_after_the_commit(self, settings: Settings) -> None:
        settings.DOMAIN_EVENT_BROKER = "database://other"
        with Listener("database://other") as listener:
            with transaction.atomic():
                event = publish_domain_event("order.placed", {})
                assert waiting("other") == []
                assert outbox(DEFAULT).get().event_id == event.uuid_string
            assert publisher.flush(30)

            assert listener.events == [event]

    def test_unless_it_is_published_there(self, settings: Settings) -> None:
        settings.DOMAIN_EVENT_BROKER = "database://other"
        with Listener("database://other") as listener, transaction.atomic():
            publish_using("order.placed", {}, uuid_string="a", using="other")

            assert waiting("other") == ["a"]
            assert listener.routing_keys == ["order.placed"]

    def test_without_an_outbox_the_commit_sends(self, settings: Settings) -> None:
        settings.DOMAIN_EVENT_BROKER = {"URL": "database://other", "OUTBOX": False}
        with Listener("database://other") as listener:
            with transaction.atomic():
                publish_domain_event("order.placed", {}, uuid_string="a")
                assert waiting("other") == []
            assert waiting("other") == ["a"]

            assert listener.routing_keys == ["order.placed"]


class TestInDjangosTestCase(TestCase):
    """Nothing is special: the queues are part of the test's transaction."""

    def test_what_is_published_is_there_unless_it_is_rolled_back(self) -> None:
        consumer = transport_for(conf.required()).consumer()
        consumer.subscribe(Subscription("handler", ("#",)))
        with suppress(ZeroDivisionError), transaction.atomic():
            publish_domain_event("order.placed", {})
            raise ZeroDivisionError
        publish_domain_event("order.placed", {}, uuid_string="a")

        assert waiting() == ["a"]
        assert consumer.waiting() == 1
        consumer.close()

    def test_it_is_gone_with_the_test(self) -> None:
        self.test_what_is_published_is_there_unless_it_is_rolled_back()
