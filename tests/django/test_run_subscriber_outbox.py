"""``run_subscriber`` and the tables: it relays the outbox, and needs the inbox."""

from __future__ import annotations

import pytest
from django.core.management import CommandError
from django.db import connections
from pytest_django import Settings

from domain_event_broker import DomainEvent, publish_domain_event
from domain_event_broker.django.inserting import write_to_outbox
from domain_event_broker.django.models import Exchange, InboxEntry, OutboxEvent
from domain_event_broker.encoding import encode
from domain_event_broker.handling import Ending
from tests.support.waiting import wait_until

from .command_runs import Handled, drain, run
from .databases import unreachable, without_table
from .marks import both_databases
from .rows import DEFAULT, ENDED, LONG, there
from .runs import Run

pytestmark = [pytest.mark.usefixtures("handlers"), both_databases]


def left_behind(name: str, lease_seconds: float = ENDED, using: str = DEFAULT) -> None:
    """An event that a process committed and never sent."""
    event = DomainEvent("order.placed", {}, uuid_string=name)
    message = encode(event, app_id="shop", max_event_bytes=1_000)
    write_to_outbox([message], "another process", lease_seconds, connections[using])


@pytest.fixture(autouse=True)
def broker(settings: Settings) -> str:
    """One that outlives the process: before another there is no outbox."""
    settings.DOMAIN_EVENT_BROKER = {"URL": "database://", "SERVICE": "shop"}
    return "database://"


class TestRelaying:
    def test_while_it_runs_it_sends_what_nobody_sends(self) -> None:
        bill = Handled("order.*", name="bill")
        with Run() as running:
            left_behind("a")
            left_behind("b", using="other")
            wait_until(lambda: len(running.reports) == 2, 30)

        assert sorted(event.uuid_string for event in bill.events) == ["a", "b"]
        assert there() == there("other") == []

    def test_also_where_it_is_off(self, settings: Settings) -> None:
        """What is in it was written before, or is replayed."""
        settings.DOMAIN_EVENT_BROKER = {"URL": "database://", "OUTBOX": False}
        bill = Handled("order.*", name="bill")
        with Run():
            left_behind("a")
            wait_until(lambda: bill.events, 30)

        assert there() == []

    def test_not_to_a_broker_in_memory(self, settings: Settings) -> None:
        settings.DOMAIN_EVENT_BROKER = "memory://ends-with-the-process"
        Handled("order.*", name="bill")
        with Run() as running:
            left_behind("a")
            publish_domain_event("order.placed", {})
            wait_until(lambda: running.endings == [Ending.HANDLED])

        assert there() == ["a"]

    def test_a_database_without_an_outbox_is_left_out(self) -> None:
        bill = Handled("order.*", name="bill")
        with without_table(OutboxEvent, DEFAULT), Run():
            left_behind("a", using="other")
            wait_until(lambda: bill.events, 30)


class TestDraining:
    @pytest.fixture
    def bill(self) -> Handled:
        bill = Handled("order.*", name="bill")
        drain()
        return bill

    def test_what_is_in_the_outbox_is_handled_too(self, bill: Handled) -> None:
        left_behind("a")
        left_behind("b", using="other")
        drain()

        assert sorted(event.uuid_string for event in bill.events) == ["a", "b"]

    def test_what_others_are_sending_is_waited_for(self, bill: Handled) -> None:
        left_behind("a", lease_seconds=0.3)
        drain()

        assert [event.uuid_string for event in bill.events] == ["a"]

    def test_but_no_longer_than_the_time_limit(self, bill: Handled) -> None:
        left_behind("a", lease_seconds=LONG)
        drain(time_limit=0.3)

        assert (bill.events, there()) == ([], ["a"])


class TestTables:
    def test_without_the_inbox_it_ends_with_one_sentence(self) -> None:
        Handled("order.*", name="bill")
        Handled("order.*", name="mail", inbox=False)
        with (
            without_table(InboxEntry, DEFAULT),
            pytest.raises(CommandError, match=r"^The database 'default' has no table .*migrate"),
        ):
            drain()

    def test_that_of_the_database_that_a_handler_names(self) -> None:
        Handled("order.*", name="bill", using="other")
        with without_table(InboxEntry, DEFAULT):
            drain()
        with (
            without_table(InboxEntry, "other"),
            pytest.raises(CommandError, match="migrate --database other"),
        ):
            drain()

    def test_nobody_needs_it_where_no_handler_has_one(self) -> None:
        bill = Handled("order.*", name="bill", inbox=False)
        with without_table(InboxEntry, DEFAULT):
            drain()
            publish_domain_event("order.placed", {})
            drain()

        assert len(bill.events) == 1

    def test_the_queues_may_be_missing_too(self) -> None:
        Handled("order.*", name="bill")
        with without_table(Exchange, DEFAULT), pytest.raises(CommandError, match="migrate"):
            drain()

    def test_a_database_of_another_kind_ends_it_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Handled("order.*", name="bill")
        monkeypatch.setattr(connections[DEFAULT], "vendor", "mysql")

        with pytest.raises(CommandError, match=r"'default' is of the kind 'mysql'.*inbox=False"):
            drain()


def test_a_database_that_is_away_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    Handled("order.*", name="bill")
    with unreachable(DEFAULT):
        output = run(time_limit=2)

    assert output.stdout == ""
    assert "The database 'default': " in caplog.text
    assert "(next try in " in caplog.text
