"""The background publisher while the broker, or the database, is away."""

from __future__ import annotations

import threading

import pytest
from django.db import connections, transaction

from domain_event_broker import publish_domain_event
from domain_event_broker.django import background
from domain_event_broker.django.background import publisher
from domain_event_broker.django.sending import outbox
from domain_event_broker.errors import BrokerUnavailable, PublishRefused, TopologyMismatch
from domain_event_broker.messages import Message
from domain_event_broker.transports.base import Outcome, PublishResult
from tests.support.waiting import wait_until

from .marks import both_databases
from .rows import DEFAULT, only_row, there
from .scripted import CONFIRMED, MakeScripted, ScriptedTransport

pytestmark = both_databases

LIMIT_SECONDS = 30.0
QUICK = {"RECONNECT_DELAY": 0.05, "MAX_RECONNECT_DELAY": 0.1}
AWAY = PublishResult(Outcome.UNKNOWN, BrokerUnavailable("Nobody is there."))
REFUSED = PublishResult(Outcome.REFUSED, PublishRefused("The queue is full."))


@pytest.fixture
def scripted(script: MakeScripted) -> ScriptedTransport:
    return script(**QUICK)


def publish(*names: str) -> None:
    with transaction.atomic():
        for name in names:
            publish_domain_event("order.placed", {}, uuid_string=name)


def come_back(transport: ScriptedTransport) -> None:
    transport.answer = lambda message: CONFIRMED


class TestBroker:
    @pytest.fixture
    def scripted(self, script: MakeScripted) -> ScriptedTransport:
        away = script(LEASE=0.5, **QUICK)
        away.answer = lambda message: AWAY
        return away

    def test_the_events_wait_in_the_outbox(self, scripted: ScriptedTransport) -> None:
        publish("a", "b")
        wait_until(lambda: len(scripted.batches) > 2)

        assert there() == ["a", "b"]
        assert not outbox(DEFAULT).exclude(attempts=0).exists()

    def test_when_it_is_back_all_are_sent(self, scripted: ScriptedTransport) -> None:
        publish("a")
        wait_until(lambda: len(scripted.batches) > 1)
        publish("b")
        publish("c", "d")
        come_back(scripted)

        wait_until(lambda: there() == [], LIMIT_SECONDS)
        assert set(scripted.published) == set("abcd")

    def test_what_is_in_doubt_is_sent_again_before_long(self, scripted: ScriptedTransport) -> None:
        """Such as under a memory alarm: its next attempt is later than the next sweep."""
        scripted.answer = lambda message: PublishResult(Outcome.UNKNOWN)
        publish("a")
        wait_until(lambda: scripted.batches)
        come_back(scripted)
        wait_until(lambda: not there(), LIMIT_SECONDS)

        assert set(scripted.published) == {"a"}

    def test_then_it_sends_at_once_again(self, scripted: ScriptedTransport) -> None:
        publish("a")
        wait_until(lambda: len(scripted.batches) > 1)
        come_back(scripted)
        wait_until(lambda: there() == [], LIMIT_SECONDS)
        publish("b")

        assert publisher.flush(LIMIT_SECONDS)
        assert scripted.published[-1] == "b"

    def test_a_flush_does_not_wait_for_it(self, scripted: ScriptedTransport) -> None:
        publish("a")
        publish("b")

        assert publisher.flush(LIMIT_SECONDS)
        publisher.close()
        assert there() == ["a", "b"]

    def test_a_wrong_configuration_keeps_them_too(self, scripted: ScriptedTransport) -> None:
        def refuse(message: Message) -> PublishResult:
            raise TopologyMismatch("The exchange is another.")

        scripted.answer = refuse
        publish("a")
        wait_until(lambda: len(scripted.batches) > 2)
        assert there() == ["a"]
        come_back(scripted)

        wait_until(lambda: there() == [], LIMIT_SECONDS)


def test_what_the_broker_refuses_is_the_relay_s(
    scripted: ScriptedTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "_FIRST_SWEEP_SECONDS", 3600.0)
    scripted.answer_for(a=REFUSED)
    publish("a", "b")

    assert publisher.flush(LIMIT_SECONDS)
    assert scripted.published == ["a", "b"]
    assert (only_row().event_id, only_row().attempts) == ("a", 1)


class TestDatabase:
    def test_a_connection_that_broke_is_replaced_however_busy_it_is(
        self, script: MakeScripted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # It tries to delete rows more often than it looks whether all is well again.
        monkeypatch.setattr(background, "_SETTLE_AGAIN_SECONDS", 0.02)
        scripted = script(RECONNECT_DELAY=0.5)
        threads: list[threading.Thread] = []

        def answer(message: Message) -> PublishResult:
            if not threads:
                threads.append(threading.current_thread())
                outbox(DEFAULT).count()
                connections[DEFAULT].connection.close()
            return CONFIRMED

        scripted.answer = answer
        numbers = iter(range(1_000_000))

        def are_gone() -> bool:
            """The row of the first one; meanwhile there are ever more events."""
            publish(f"later {next(numbers)}")
            return "first" not in there()

        publish("first")
        wait_until(are_gone, LIMIT_SECONDS)
        assert publisher.flush(LIMIT_SECONDS)

    def test_what_was_sent_is_not_sent_again(
        self, scripted: ScriptedTransport, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(background, "_SETTLE_AGAIN_SECONDS", 0.05)

        def break_the_connection(message: Message) -> PublishResult:
            come_back(scripted)
            outbox(DEFAULT).count()
            connections[DEFAULT].connection.close()
            return CONFIRMED

        scripted.answer = break_the_connection
        publish("a")

        wait_until(lambda: there() == [], LIMIT_SECONDS)
        assert scripted.published == ["a"]
