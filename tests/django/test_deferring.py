"""Publishing with an outbox: the event is a row of the caller's transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.test import TestCase
from pytest_django import Settings

import domain_event_broker
from domain_event_broker import DomainEvent, Outcome, publish_domain_events
from domain_event_broker import django as app
from domain_event_broker.django import background
from domain_event_broker.django.background import publisher
from domain_event_broker.django.databases import MissingTables
from domain_event_broker.django.dialects import UnsupportedDatabase
from domain_event_broker.django.models import OutboxEvent
from domain_event_broker.django.sending import outbox
from domain_event_broker.django.transactions import UnclearTransaction
from domain_event_broker.errors import BrokerUnavailable
from domain_event_broker.transports.base import PublishResult
from tests.support.waiting import wait_until

from .databases import unreachable, without_table
from .marks import both_databases
from .rows import DEFAULT, only_row, there
from .scripted import MakeScripted, ScriptedTransport

pytestmark = both_databases

LIMIT_SECONDS = 30.0
AWAY = PublishResult(Outcome.UNKNOWN, BrokerUnavailable("Nobody is there."))

Publish = Callable[..., DomainEvent]

each_way = pytest.mark.parametrize(
    "publish",
    [domain_event_broker.publish_domain_event, app.publish_domain_event],
    ids=["core", "app"],
)


@pytest.fixture(autouse=True)
def _scripted(scripted: ScriptedTransport) -> Iterator[None]:
    """In each test the broker confirms all that it gets."""
    yield
    assert publisher.flush(LIMIT_SECONDS)


class TestStoring:
    @each_way
    def test_in_a_transaction_it_is_a_row_until_the_commit(
        self, publish: Publish, scripted: ScriptedTransport
    ) -> None:
        with transaction.atomic():
            event = publish("order.placed", {"number": 1}, 7)
            row = only_row()
            assert (row.event_id, row.routing_key) == (event.uuid_string, "order.placed")
            assert row.lease_token == str(background.token)
            assert outbox(DEFAULT).leased().exists()

        wait_until(lambda: scripted.published == [event.uuid_string])

    @each_way
    def test_outside_of_one_it_is_a_row_too(self, publish: Publish, script: MakeScripted) -> None:
        away = script(RECONNECT_DELAY=60, MAX_RECONNECT_DELAY=60)
        away.answer = lambda message: AWAY
        event = publish("order.placed", {})

        assert there() == [event.uuid_string]

    def test_the_outcome_is_that_it_is_deferred(self) -> None:
        with transaction.atomic():
            inside = publish_domain_events([DomainEvent("a.b"), DomainEvent("a.c")])
        outside = publish_domain_events([DomainEvent("a.d")])

        assert {result.outcome for result in inside + outside} == {Outcome.DEFERRED}
        assert {result.error for result in inside + outside} == {None}
        assert publish_domain_events([]) == []

    @pytest.mark.parametrize("in_transaction", [True, False])
    def test_many_are_stored_and_sent_in_order(
        self, scripted: ScriptedTransport, in_transaction: bool
    ) -> None:
        events = [DomainEvent("order.placed", {"number": number}) for number in range(1_500)]
        if in_transaction:
            with transaction.atomic():
                results = publish_domain_events(events)
                assert len(there()) == 1_500
        else:
            results = publish_domain_events(events)
        assert publisher.flush(LIMIT_SECONDS)

        assert len(results) == 1_500
        assert scripted.published == [event.uuid_string for event in events]
        assert there() == []

    def test_in_a_commit_hook_it_is_stored_and_sent(self, scripted: ScriptedTransport) -> None:
        with transaction.atomic():
            transaction.on_commit(lambda: publish_named("by the hook"))
            publish_named("by the transaction")
        assert publisher.flush(LIMIT_SECONDS)

        assert sorted(map(str, scripted.published)) == ["by the hook", "by the transaction"]


def publish_named(name: str, using: str | None = None) -> None:
    app.publish_domain_event("order.placed", {}, uuid_string=name, using=using)


class TestWhichDatabase:
    """Looked at before the commit: after it, the rows are soon gone."""

    def test_the_one_that_is_named(self) -> None:
        with transaction.atomic(using="other"):
            publish_named("a", using="other")

            assert (there(), there("other")) == ([], ["a"])

    def test_the_one_with_a_transaction(self) -> None:
        with transaction.atomic(using="other"):
            publish_named("a")

            assert (there(), there("other")) == ([], ["a"])

    def test_else_the_one_that_the_routers_write_to(self, settings: Settings) -> None:
        settings.DATABASE_ROUTERS = ["tests.django.routers.InOther"]
        with transaction.atomic(), transaction.atomic(using="other"):
            publish_named("a")

            assert (there(), there("other")) == ([], ["a"])
        with without_table(OutboxEvent, DEFAULT):
            publish_named("b")

    def test_of_several_that_are_open_it_is_unclear(self, settings: Settings) -> None:
        settings.DATABASE_ROUTERS = ["tests.django.routers.InElsewhere"]
        with transaction.atomic(), transaction.atomic(using="other"):
            with pytest.raises(UnclearTransaction, match=r"'default', 'other'; say with using="):
                publish_named("unclear")
            publish_named("a", using="other")

            assert (there(), there("other")) == ([], ["a"])

    def test_a_named_one_without_a_transaction_is_not_part_of_another_s(
        self, scripted: ScriptedTransport
    ) -> None:
        with suppress(ZeroDivisionError), transaction.atomic():
            publish_named("kept", using="other")
            publish_named("rolled back")
            raise ZeroDivisionError
        assert publisher.flush(LIMIT_SECONDS)

        assert scripted.published == ["kept"]


class TestRefusing:
    @each_way
    @pytest.mark.parametrize("in_transaction", [True, False])
    def test_before_migrate_it_says_so(self, publish: Publish, in_transaction: bool) -> None:
        with without_table(OutboxEvent, DEFAULT):
            caught = pytest.raises(MissingTables, match=r"'default'.*outboxevent.*migrate")
            with caught, transaction.atomic() if in_transaction else nullcontext():
                publish("order.placed", {})

    @each_way
    def test_a_database_that_it_does_not_run_on(
        self, publish: Publish, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection, "vendor", "mysql")

        with pytest.raises(UnsupportedDatabase, match=r"'mysql'.*OUTBOX to False"):
            publish("order.placed", {})

    def test_a_database_that_is_away(self) -> None:
        with unreachable(DEFAULT), pytest.raises(OperationalError):
            publish_named("a")


class TestHandingOver:
    def test_what_goes_wrong_there_is_not_the_commit_s(
        self,
        scripted: ScriptedTransport,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def fail(events: object) -> None:
            raise MemoryError

        done: list[str] = []
        with monkeypatch.context() as patched:
            patched.setattr(publisher, "hand_over", fail)
            with transaction.atomic():
                publish_named("a")
                transaction.on_commit(lambda: done.append("the next hook"))

        assert done == ["the next hook"]
        assert (scripted.published, there()) == ([], ["a"])
        assert caplog.messages == ["1 committed events are left to the relay."]


class TestInDjangosTestCase(TestCase):
    """A commit that is played only: its transaction may yet roll back."""

    @pytest.fixture(autouse=True)
    def log(self, scripted: ScriptedTransport, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        self.scripted, self.caplog = scripted, caplog

    def test_nothing_is_sent_and_nothing_raised(self) -> None:
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            publish_named("a")

        assert len(callbacks) == 1
        assert there() == ["a"]
        assert publisher.flush(LIMIT_SECONDS)
        assert self.scripted.published == []
        assert self.caplog.messages == [
            "Not committed, so not sent: see domain_event_broker.django.testing."
        ]

    def test_without_the_commit_neither(self) -> None:
        publish_named("a")

        assert there() == ["a"]
        assert connections[DEFAULT].in_atomic_block
        assert self.scripted.published == []
