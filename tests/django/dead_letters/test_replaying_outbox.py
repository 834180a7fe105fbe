"""Replays on their way over the outbox, and what each answer of the broker means for them."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from domain_event_broker.django import background, conf, dead_letters
from domain_event_broker.django.dead_letters import Decided, Selection
from domain_event_broker.django.models import DeadLetter, OutboxEvent
from domain_event_broker.django.querysets import OutboxRow
from domain_event_broker.django.sending import RowSender, Sent, outbox
from domain_event_broker.django.signals import event_published
from domain_event_broker.errors import BrokerUnavailable, PublishRefused
from domain_event_broker.messages import Message
from domain_event_broker.transports.base import Outcome, PublishResult
from tests.django.marks import both_databases
from tests.django.relays import a_relay
from tests.django.rows import DEFAULT, ENDED, LONG, put
from tests.django.scripted import CONFIRMED, MakeScripted, ScriptedTransport

from .letters import letter, only_row, states, store

pytestmark = both_databases

TOKEN = "mine"
NO_QUEUE = PublishResult(Outcome.UNROUTABLE)
REFUSED = PublishResult(Outcome.REFUSED, PublishRefused("The queue is full."))
AWAY = PublishResult(Outcome.UNKNOWN, BrokerUnavailable("Nobody is there."))


def replay(**selection: Any) -> Decided:
    decided = dead_letters.replay(Selection(**selection), conf.required(), "ada")
    assert background.publisher.flush(30)
    return decided


def requeued(scripted: ScriptedTransport) -> list[tuple[str, str | None]]:
    return [(handler, message.message_id) for handler, message in scripted.requeued]


@pytest.fixture
def waiting_row(script: MakeScripted) -> ScriptedTransport:
    """A replay of "a" waits in the outbox, since the broker was away."""
    scripted = script(LEASE=1.0)
    scripted.answer_for(a=AWAY)
    store(letter("a"))
    replay()
    background.publisher.close()  # it would try again by itself
    assert outbox(DEFAULT).count() == 1
    scripted.requeued.clear()
    return scripted


def claim() -> list[OutboxRow]:
    outbox(DEFAULT).update(due_at="2020-01-01T00:00Z")
    return outbox(DEFAULT).claim(10, TOKEN, LONG)


def send(scripted: ScriptedTransport, rows: list[OutboxRow]) -> Sent:
    sender = RowSender(scripted.settings, TOKEN)
    try:
        return sender.send(rows, DEFAULT)
    finally:
        sender.close()


def test_each_is_sent_to_its_own_handler(scripted: ScriptedTransport) -> None:
    store(letter("a"), letter("b"))
    store(letter("c"), handler="mail")

    assert replay() == Decided(count=3)
    assert sorted(requeued(scripted)) == [("bill", "a"), ("bill", "b"), ("mail", "c")]
    assert scripted.published == []
    assert not OutboxEvent.objects.exists()


def test_events_for_everybody_are_published_beside_them(scripted: ScriptedTransport) -> None:
    store(letter("a"))
    put("b", token=TOKEN, lease_seconds=LONG)
    scripted.answer_for(a=AWAY)
    replay()
    rows = claim()

    scripted.answer_for()
    sent = send(scripted, rows)
    assert sorted(sent.ids) == sorted(row.id for row in rows)
    assert scripted.published == ["b"]
    assert requeued(scripted)[-1] == ("bill", "a")


def test_no_signal_says_that_a_replay_was_published(
    scripted: ScriptedTransport, replayed: list[dict[str, Any]]
) -> None:
    told: list[dict[str, Any]] = []

    def note(**kwargs: Any) -> None:
        told.append(kwargs)

    event_published.connect(note)
    try:
        store(letter("a"))
        replay()
    finally:
        event_published.disconnect(note)

    assert (told, len(replayed)) == ([], 1)


class TestAway:
    def test_it_waits_in_the_outbox_for_the_broker(self, waiting_row: ScriptedTransport) -> None:
        assert states() == {"a": "replayed"}
        waiting_row.answer_for()
        outbox(DEFAULT).update(due_at="2020-01-01T00:00Z")
        with a_relay([DEFAULT]) as relay:
            assert relay.sweep().sent == 1

        assert requeued(waiting_row) == [("bill", "a")]
        assert not OutboxEvent.objects.exists()
        assert states() == {"a": "replayed"}

    def test_meanwhile_it_is_not_replayed_again(self, waiting_row: ScriptedTransport) -> None:
        assert replay() == Decided()


class TestWithoutQueue:
    def test_it_waits_again(
        self, waiting_row: ScriptedTransport, caplog: pytest.LogCaptureFixture
    ) -> None:
        waiting_row.answer_for(a=NO_QUEUE)
        with caplog.at_level(logging.ERROR):
            assert send(waiting_row, claim()) == Sent(returned=1)

        row = only_row()
        assert (row.state, row.settled_at, row.settled_by) == ("waiting", None, "")
        assert not OutboxEvent.objects.exists()
        (told,) = caplog.messages
        assert told == (
            "Event a is a dead letter again: The handler 'bill' has no queue to replay to; start "
            "its subscriber once."
        )

    def test_and_may_be_replayed_again(self, waiting_row: ScriptedTransport) -> None:
        waiting_row.answer_for(a=NO_QUEUE)
        send(waiting_row, claim())
        waiting_row.answer_for()

        assert replay() == Decided(count=1)
        assert states() == {"a": "replayed"}

    def test_from_the_background(self, scripted: ScriptedTransport) -> None:
        scripted.answer_for(a=NO_QUEUE)
        store(letter("a"), letter("b"))
        replay()

        assert states() == {"a": "waiting", "b": "replayed"}
        assert not OutboxEvent.objects.exists()

    def test_it_is_parked_where_its_dead_letter_is_gone(
        self, waiting_row: ScriptedTransport, failures: list[dict[str, Any]]
    ) -> None:
        waiting_row.answer_for(a=NO_QUEUE)
        DeadLetter.objects.all().delete()

        assert send(waiting_row, claim()) == Sent(parked=1)
        (row,) = outbox(DEFAULT).parked()
        assert "The handler 'bill' has no queue" in row.error
        assert [told["event_id"] for told in failures] == ["a"]

    def test_nothing_changes_where_another_holds_the_row_by_now(
        self, waiting_row: ScriptedTransport, failures: list[dict[str, Any]]
    ) -> None:
        """Who may have found the queue that was missing a moment ago."""

        def answer_too_late(message: Message) -> PublishResult:
            outbox(DEFAULT).update(lease_token="theirs")
            return NO_QUEUE

        waiting_row.answer = answer_too_late
        send(waiting_row, claim())

        assert states() == {"a": "replayed"}
        assert outbox(DEFAULT).get().lease_token == "theirs"
        assert failures == []


class TestRefused:
    def test_it_is_tried_again_later(self, waiting_row: ScriptedTransport) -> None:
        waiting_row.answer_for(a=REFUSED)
        send(waiting_row, claim())

        row = outbox(DEFAULT).get()
        assert (row.handler, row.attempts, row.error) == ("bill", 1, "The queue is full.")
        assert states() == {"a": "replayed"}

    def test_alone_from_then_on(self, waiting_row: ScriptedTransport) -> None:
        waiting_row.answer_for(a=REFUSED)
        send(waiting_row, claim())
        waiting_row.requeued.clear()
        waiting_row.answer = lambda message: CONFIRMED
        put("b", lease_seconds=ENDED)
        send(waiting_row, claim())

        assert requeued(waiting_row) == [("bill", "a")]
        assert waiting_row.published == ["b"]
