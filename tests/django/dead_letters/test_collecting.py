"""From a queue of dead letters into the table: the row first, and each failure once."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from domain_event_broker.django import conf, dead_letters
from domain_event_broker.django.databases import MissingTables
from domain_event_broker.django.models import DeadLetter
from domain_event_broker.errors import TransportError
from domain_event_broker.transports.base import DeadLetters
from tests.django.databases import without_table
from tests.django.marks import both_databases
from tests.django.rows import DEFAULT
from tests.support.threads import at_once

from .letters import (
    collect,
    declare,
    in_queue,
    letter,
    only_row,
    put,
    rows,
    states,
    transport,
)

pytestmark = both_databases


class Died(Exception):
    """As a process dies: nothing after it happens."""


def die_before_removing(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(self: DeadLetters, dead_letter: object) -> None:
        raise Died

    with transport().dead_letters("bill") as box:
        kind = type(box)
    with monkeypatch.context() as patch:
        patch.setattr(kind, "discard", die)
        with pytest.raises(Died):
            collect()


class Collecting:
    def test_a_letter_becomes_a_row_and_leaves_its_queue(self, bill: str) -> None:
        put(letter("a"), letter("b"))

        assert collect() == 2
        assert states() == {"a": "waiting", "b": "waiting"}
        assert in_queue() == 0

    def test_a_row_tells_all_that_the_letter_told(self, bill: str) -> None:
        put(
            letter(
                "a",
                dead_letter_id="the failure",
                reason="retries-exhausted",
                attempts=4,
                first_failed_at_ms=1_700_000_000_000,
                failed_at_ms=1_700_000_001_500,
                app_version="v7",
            )
        )
        collect()

        row = only_row()
        assert (row.identity, row.handler, row.event_id) == ("the failure", "bill", "a")
        assert (row.routing_key, row.reason) == ("order.placed", "retries-exhausted")
        assert (row.error_type, row.error_message) == ("shop.errors.Bad", "not yet")
        assert row.error_place == "shop/orders.py:12 in bill"
        assert row.traceback == "Traceback\n  in bill\nshop.errors.Bad: not yet\n"
        assert (row.attempts, row.host, row.process_id, row.app_version) == (4, "web-1", 7, "v7")
        assert row.first_failed_at is not None
        assert row.first_failed_at.timestamp() == 1_700_000_000
        assert row.failed_at.timestamp() == 1_700_000_001.5
        assert bytes(row.body).startswith(b"{")
        assert "deb-reason" not in row.properties
        assert (row.settled_at, row.settled_by) == (None, "")

    def test_the_row_is_there_before_the_letter_goes(
        self, bill: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(letter("a"), letter("b"))
        die_before_removing(monkeypatch)

        assert len(rows()) == 2
        assert in_queue() == 2

    def test_what_a_collector_left_behind_makes_no_second_row(
        self, bill: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(letter("a"), letter("b"))
        die_before_removing(monkeypatch)
        put(letter("c"))

        assert collect() == 3
        assert list(states()) == ["a", "b", "c"]
        assert in_queue() == 0

    @pytest.mark.parametrize("state", ["replayed", "discarded"])
    def test_nor_does_it_wait_again_once_somebody_decided(
        self, bill: str, state: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(letter("a"))
        die_before_removing(monkeypatch)
        DeadLetter.objects.waiting().settle(state, "somebody")
        collect()

        assert states() == {"a": state}
        assert in_queue() == 0

    def test_two_failures_of_one_event_are_two_rows(self, bill: str) -> None:
        put(letter("a"), letter("a"))
        collect()

        assert [row.event_id for row in rows()] == ["a", "a"]

    def test_more_than_one_batch(self, bill: str) -> None:
        put(*(letter(str(number)) for number in range(620)))
        steps: list[tuple[int, int]] = []
        total = dead_letters.collect(
            "bill", conf.required(), lambda done, total: steps.append((done, total))
        )

        assert total == len(rows()) == 620
        assert steps[-1] == (620, 620)
        assert in_queue() == 0

    def test_it_may_be_broken_off(self, bill: str) -> None:
        put(letter("a"))

        assert dead_letters.collect("bill", conf.required(), is_stopping=lambda: True) == 0
        assert (rows(), in_queue()) == ([], 1)

    def test_several_at_once_make_one_row_of_each(self, bill: str) -> None:
        put(*(letter(str(number)) for number in range(60)))
        done = at_once(*[collect] * 3)
        collect()

        assert sum(done) >= 60 - in_queue()
        assert len(rows()) == len(states()) == 60
        assert in_queue() == 0

    def test_those_of_other_handlers_stay(self, bill: str) -> None:
        declare("mail")
        put(letter("a"), handler="mail")

        assert collect() == 0
        assert in_queue("mail") == 1

    def test_a_handler_that_never_ran_has_none(self, bill: str) -> None:
        assert collect("nobody") == 0

    def test_without_the_table_they_stay_in_their_queue(self, bill: str) -> None:
        put(letter("a"))
        with without_table(DeadLetter, DEFAULT), pytest.raises(MissingTables, match="deadletter"):
            collect()

        assert in_queue() == 1
        assert collect() == 1


class TestInsideTheProject(Collecting):
    pass


class TestOnRabbitmq(Collecting):
    @pytest.fixture
    def bill(self, broker_url: str, settings: Settings) -> str:
        settings.DOMAIN_EVENT_BROKER = {"URL": broker_url, "SERVICE": "shop"}
        declare("bill")
        return "bill"


def test_routers_say_which_database_holds_them(alias: str, broker: str) -> None:
    declare("bill")
    put(letter("a"))
    collect()

    assert DeadLetter.objects.using(alias).count() == 1
    assert DeadLetter.objects.using("other" if alias == DEFAULT else DEFAULT).count() == 0


def test_a_broker_that_is_away_is_told(settings: Settings) -> None:
    settings.DOMAIN_EVENT_BROKER = "amqp://127.0.0.1:1"

    with pytest.raises(TransportError):
        collect()
