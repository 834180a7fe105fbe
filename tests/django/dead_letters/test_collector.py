"""The collector beside a run: what fails reaches the table by itself."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial

import pytest
from pytest_django import Settings

from domain_event_broker import DomainEvent, publish_domain_event
from domain_event_broker.django import conf, dead_letters, domain_event_handler
from domain_event_broker.django.dead_letters import Selection, collecting
from domain_event_broker.django.dead_letters.collecting import CollectorThread
from domain_event_broker.django.models import DeadLetter
from domain_event_broker.django.signals import event_dead_lettered
from domain_event_broker.errors import BrokerUnavailable
from domain_event_broker.handling import Ending, Report
from domain_event_broker.settings import Settings as BrokerSettings
from tests.django.command_runs import Failing, drain
from tests.django.databases import without_table
from tests.django.marks import both_databases
from tests.django.rows import DEFAULT
from tests.django.runs import Run
from tests.support.waiting import wait_until

from .letters import declare, foreign, in_queue, letter, only_row, put, rows, waiting

pytestmark = [pytest.mark.usefixtures("handlers"), both_databases]

LIMIT_SECONDS = 30.0
Collect = Callable[[str, BrokerSettings], int]


def publish(*ids: str) -> None:
    for event_id in ids:
        publish_domain_event("order.placed", {}, uuid_string=event_id)


class Running:
    def test_what_fails_reaches_the_table_meanwhile(self, bill: str) -> None:
        Failing(bill)
        with Run() as run:
            publish("a")
            wait_until(lambda: waiting() == ["a"], LIMIT_SECONDS)
            publish("b", "c")
            wait_until(lambda: sorted(waiting()) == ["a", "b", "c"], LIMIT_SECONDS)

        assert run.endings == [Ending.DEAD_LETTERED] * 3
        assert in_queue() == 0

    def test_at_the_end_of_a_drain_all_are_there(self, bill: str) -> None:
        Failing(bill)
        publish(*map(str, range(30)))
        drain()

        assert waiting() == [str(number) for number in range(30)]
        assert in_queue() == 0

    def test_what_was_left_by_others_is_collected_first(self, bill: str) -> None:
        Failing(bill)
        put(letter("left"), foreign("foreign"))
        drain()

        assert waiting() == ["left", "foreign"]

    def test_the_row_tells_the_story(self, bill: str) -> None:
        Failing(bill)
        publish("a")
        drain()

        row = only_row()
        assert (row.handler, row.reason, row.error_type) == ("bill", "error", "ValueError")
        assert (row.error_message, row.attempts) == ("not yet", 1)
        assert row.error_place.startswith("django/command_runs.py:")
        assert row.traceback.endswith("ValueError: not yet\n")
        assert row.first_failed_at == row.failed_at

    def test_after_a_replay_it_is_handled_or_another_dead_letter(self, bill: str) -> None:
        failing = Failing(bill)
        publish("a", "b")
        drain()
        assert dead_letters.replay(Selection(), conf.required(), "ada").count == 2
        failing.fails = False
        drain()

        assert [event.uuid_string for event in failing.handled] == ["a", "b"]
        assert {row.state for row in rows()} == {"replayed"}
        failing.fails = True
        publish("c")
        drain()
        dead_letters.replay(Selection(), conf.required(), "ada")
        drain()
        assert waiting() == ["c"]
        assert len([row for row in rows() if row.event_id == "c"]) == 2

    def test_a_run_that_is_stopped_leaves_none_behind(self, bill: str) -> None:
        Failing(bill)
        with Run() as run:
            publish(*map(str, range(5)))
            wait_until(lambda: len(run.endings) == 5, LIMIT_SECONDS)

        assert len(waiting()) == 5
        assert in_queue() == 0


class TestInsideTheProject(Running):
    pass


class TestOnRabbitmq(Running):
    @pytest.fixture
    def bill(self, broker_url: str, settings: Settings) -> str:
        settings.DOMAIN_EVENT_BROKER = {"URL": broker_url, "SERVICE": "shop", "OUTBOX": False}
        declare("bill")
        return "bill"


def test_a_handler_that_keeps_none_needs_no_collector(broker: str) -> None:
    def fail(event: DomainEvent) -> None:
        raise ValueError("no")

    domain_event_handler("order.*", name="bill", dead_letter=False)(fail)
    drain()
    publish("a")
    with Run() as run:
        wait_until(lambda: run.endings == [Ending.DISCARDED], LIMIT_SECONDS)
        names = [thread.name for thread in threading.enumerate()]

    assert "domain-event-broker dead letters" not in names
    assert rows() == []


def test_without_the_table_they_stay_in_their_queue(
    bill: str, caplog: pytest.LogCaptureFixture
) -> None:
    Failing(bill)
    publish("a")
    with without_table(DeadLetter, DEFAULT), caplog.at_level(logging.INFO):
        drain()

    assert in_queue() == 1
    assert "Dead letters stay in their queues: " in caplog.text
    drain()
    assert waiting() == ["a"]


def test_a_receiver_of_the_signal_is_told_once_each(bill: str) -> None:
    told: list[Report] = []

    def note(report: Report, **kwargs: object) -> None:
        told.append(report)

    event_dead_lettered.connect(note)
    try:
        Failing(bill)
        publish("a", "b")
        drain()
    finally:
        event_dead_lettered.disconnect(note)

    assert [report.event_id for report in told] == ["a", "b"]


class TestThread:
    """The thread by itself, with collections that fail."""

    @pytest.fixture
    def patch(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[Collect], None]:
        monkeypatch.setattr(collecting, "_LOOK_AGAIN_SECONDS", 0.05)
        monkeypatch.setattr(collecting, "_GATHER_SECONDS", 0.01)
        return partial(monkeypatch.setattr, collecting, "collect")

    def test_an_outage_is_told_and_all_are_tried_again(
        self, patch: Callable[[Collect], None], caplog: pytest.LogCaptureFixture
    ) -> None:
        seen: list[str] = []

        def fail_first(name: str, settings: BrokerSettings) -> int:
            seen.append(name)
            if len(seen) == 1:
                raise BrokerUnavailable("Nobody is there.")
            return 0

        patch(fail_first)
        thread = CollectorThread(conf.required(), ["bill", "mail"])
        thread.start()
        wait_until(lambda: len(seen) >= 3)
        thread.stop(LIMIT_SECONDS)

        assert seen[:3] == ["bill", "bill", "mail"]
        assert caplog.messages == ["The dead letters of bill wait in their queue: Nobody is there."]

    def test_one_that_cannot_be_collected_keeps_up_nobody(
        self, patch: Callable[[Collect], None], caplog: pytest.LogCaptureFixture
    ) -> None:
        seen: list[str] = []

        def fail_for_bill(name: str, settings: BrokerSettings) -> int:
            seen.append(name)
            if name == "bill":
                raise LookupError("a bug")
            return 0

        patch(fail_for_bill)
        thread = CollectorThread(conf.required(), ["bill", "mail"])
        thread.start()
        wait_until(lambda: seen.count("bill") >= 2)
        thread.stop(LIMIT_SECONDS)

        assert seen[:2] == ["bill", "mail"]
        assert "a bug" in caplog.text

    def test_at_the_end_once_more_who_had_some(self, patch: Callable[[Collect], None]) -> None:
        """A letter may reach its queue after its failure was told."""
        seen: list[str] = []

        def note(name: str, settings: BrokerSettings) -> int:
            seen.append(name)
            return 0

        patch(note)
        thread = CollectorThread(conf.required(), ["bill", "mail", "stock"])
        thread.start()
        wait_until(lambda: len(seen) == 3)
        thread.tell("mail")
        wait_until(lambda: len(seen) == 4)
        thread.stop(LIMIT_SECONDS)

        assert seen == ["bill", "mail", "stock", "mail", "mail"]

    def test_one_that_never_started_ends_at_once(self) -> None:
        CollectorThread(conf.required(), ["bill"]).stop(LIMIT_SECONDS)
