"""The relay while the broker, a database or a table is away, and after."""

from __future__ import annotations

import logging

import pytest

from domain_event_broker.django import relaying
from domain_event_broker.django.databases import MissingTables
from domain_event_broker.django.models import OutboxEvent
from domain_event_broker.django.relaying import Relayed
from domain_event_broker.django.sending import outbox
from domain_event_broker.errors import BrokerUnavailable, ConfigurationError, TopologyMismatch
from domain_event_broker.messages import Message
from domain_event_broker.transports.base import Outcome, PublishResult
from tests.support.waiting import wait_until

from .databases import unreachable, without_table
from .marks import both_databases
from .relays import a_relay, running_relay
from .rows import DEFAULT, put, there
from .scripted import CONFIRMED, MakeScripted, ScriptedTransport

pytestmark = both_databases

AWAY = PublishResult(Outcome.UNKNOWN, BrokerUnavailable("Nobody is there."))
QUICK = {"RECONNECT_DELAY": 0.01, "MAX_RECONNECT_DELAY": 0.02}


def go_away(transport: ScriptedTransport) -> None:
    transport.answer = lambda message: AWAY


def come_back(transport: ScriptedTransport) -> None:
    transport.answer = lambda message: CONFIRMED


class TestBroker:
    def test_an_outage_ends_the_sweep_and_costs_nothing(self, scripted: ScriptedTransport) -> None:
        go_away(scripted)
        put("a", "b")
        put("c", using="other")
        with a_relay() as relay:
            assert relay.sweep() == Relayed(outage=AWAY.error)
            assert relay.drain() == Relayed(outage=AWAY.error)

        assert [(row.event_id, row.attempts) for row in outbox(DEFAULT)] == [("a", 0), ("b", 0)]
        assert outbox(DEFAULT).due().count() == 2
        assert there("other") == ["c"]

    def test_then_a_few_tell_whether_it_is_back(self, scripted: ScriptedTransport) -> None:
        names = [f"{number:02}" for number in range(25)]
        go_away(scripted)
        put(*names)
        with a_relay() as relay:
            relay.sweep()
            relay.sweep()
            come_back(scripted)
            assert relay.sweep() == Relayed(sent=25)

        assert [len(batch) for batch in scripted.batches] == [25, 10, 10, 15]
        assert set(scripted.published[-25:]) == set(names)

    def test_it_is_told_once_that_it_is_away_and_once_that_it_is_back(
        self, script: MakeScripted, caplog: pytest.LogCaptureFixture
    ) -> None:
        scripted = script(**QUICK)
        go_away(scripted)
        put("a")
        with running_relay():
            wait_until(lambda: len(scripted.batches) > 4)
            come_back(scripted)
            wait_until(lambda: "leave" in caplog.text)

        assert there() == []
        assert caplog.messages == [
            "Events wait in the outbox: Nobody is there.",
            "Events leave the outbox again.",
        ]
        assert {record.levelno for record in caplog.records} == {logging.WARNING}

    def test_a_sweep_that_finds_nothing_due_does_not_say_that_it_is_back(
        self, scripted: ScriptedTransport, caplog: pytest.LogCaptureFixture
    ) -> None:
        scripted.answer = lambda message: PublishResult(Outcome.UNKNOWN)
        put("a")
        with a_relay() as relay:
            assert relay.sweep().postponed == 1
            assert relay.sweep() == Relayed()
            assert len(caplog.messages) == 1
            come_back(scripted)
            outbox(DEFAULT).give_back()
            assert relay.sweep().sent == 1

        assert caplog.messages[1:] == ["Events leave the outbox again."]

    def test_the_pauses_grow_up_to_the_longest(self, script: MakeScripted) -> None:
        script(RECONNECT_DELAY=1, MAX_RECONNECT_DELAY=8)
        with a_relay() as relay:
            for failures, most in ((1, 1), (2, 2), (3, 4), (4, 8), (5, 8), (1_000, 8)):
                assert most / 2 <= relay.pause_seconds(failures) <= most

    def test_a_wrong_configuration_is_an_outage_too(
        self, script: MakeScripted, caplog: pytest.LogCaptureFixture
    ) -> None:
        scripted = script(**QUICK)
        error = TopologyMismatch("The exchange is another.")

        def refuse(message: Message) -> PublishResult:
            raise error

        scripted.answer = refuse
        put("a")
        with a_relay() as relay:
            assert relay.sweep() == Relayed(outage=error)
        with running_relay():
            wait_until(lambda: len(scripted.batches) > 3)
            come_back(scripted)
            wait_until(lambda: there() == [])

        assert "Events wait in the outbox: The exchange is another." in caplog.messages

    def test_what_nobody_expected_does_not_end_it(
        self, script: MakeScripted, caplog: pytest.LogCaptureFixture
    ) -> None:
        scripted = script(**QUICK)

        def fail_once(message: Message) -> PublishResult:
            come_back(scripted)
            outbox(DEFAULT).give_back()
            raise ZeroDivisionError

        scripted.answer = fail_once
        put("a")
        with running_relay():
            wait_until(lambda: there() == [])

        assert caplog.messages == ["Unexpected error while relaying the outbox."]
        assert caplog.records[0].exc_info


class TestTables:
    def test_a_database_without_the_table_is_left_out(
        self, scripted: ScriptedTransport, caplog: pytest.LogCaptureFixture
    ) -> None:
        put("a", using="other")
        with without_table(OutboxEvent, DEFAULT), a_relay() as relay:
            assert relay.sweep() == Relayed(sent=1)
            put("b", using="other")
            assert relay.drain() == Relayed(sent=1)

        assert caplog.messages == []  # a warning would come every minute

    def test_it_is_asked_again_in_time(
        self, scripted: ScriptedTransport, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(relaying, "_NO_OUTBOX_SECONDS", 0.05)
        with a_relay() as relay:
            with without_table(OutboxEvent, DEFAULT):
                relay.sweep()
            put("a")
            wait_until(lambda: relay.sweep().sent == 1)

    def test_one_that_was_named_must_have_it(self, scripted: ScriptedTransport) -> None:
        with (
            without_table(OutboxEvent, "other"),
            a_relay([DEFAULT, "other"]) as relay,
            pytest.raises(MissingTables, match=r"'other'.*migrate") as caught,
        ):
            relay.sweep()

        assert isinstance(caught.value, ConfigurationError)
        assert caught.value.__cause__ is not None


class TestDatabases:
    def test_one_that_is_away_holds_up_no_other(
        self,
        scripted: ScriptedTransport,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr(relaying, "_AWAY_SECONDS", 3600.0)
        put("here")
        put("there", using="other")
        with a_relay() as relay, unreachable(DEFAULT):
            assert relay.sweep() == Relayed(sent=1)
            assert relay.drain() == Relayed()

        assert scripted.published == ["there"]
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert "The outbox of 'default' is left out for now: The database" in record.getMessage()

    def test_it_is_asked_again_in_time(
        self, scripted: ScriptedTransport, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(relaying, "_AWAY_SECONDS", 0.05)
        put("a")
        with a_relay() as relay:
            with unreachable(DEFAULT):
                assert relay.sweep() == Relayed()
            wait_until(lambda: relay.sweep().sent == 1)

    def test_one_that_was_named_is_waited_for_too(self, scripted: ScriptedTransport) -> None:
        with a_relay([DEFAULT]) as relay, unreachable(DEFAULT):
            assert relay.sweep() == Relayed()
