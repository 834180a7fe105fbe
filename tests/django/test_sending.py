"""What each outcome of a publish means for the event's row in the outbox."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from domain_event_broker.django.dialects import FromNow
from domain_event_broker.django.models import OutboxEvent
from domain_event_broker.django.sending import RowSender, Sent, outbox
from domain_event_broker.django.signals import event_publish_failed
from domain_event_broker.errors import (
    BrokerUnavailable,
    DomainEventBrokerError,
    EventTooLarge,
    PublishRefused,
    PublishUnconfirmed,
    TopologyMismatch,
    TransportClosed,
    UnroutableEvent,
)
from domain_event_broker.messages import Message
from domain_event_broker.transports import transport_for
from domain_event_broker.transports.base import Outcome, PublishResult
from tests.support.waiting import wait_until

from .marks import both_databases
from .rows import DEFAULT, ENDED, LONG, only_row, put, there
from .scripted import CONFIRMED, MakeScripted, ScriptedTransport

# The leases are kept in a thread.
pytestmark = both_databases

TOKEN = "mine"

REFUSED = PublishResult(Outcome.REFUSED, PublishRefused("The queue is full."))
UNWRITTEN = PublishResult(Outcome.UNKNOWN, BrokerUnavailable("Nobody is there."))
CLOSED = PublishResult(Outcome.UNKNOWN, TransportClosed("The connection was closed."))
UNANSWERED = PublishResult(Outcome.UNKNOWN)


def caused(outcome: Outcome, error: DomainEventBrokerError, cause: Exception) -> PublishResult:
    error.__cause__ = cause
    return PublishResult(outcome, error)


UNWRITABLE = caused(Outcome.REFUSED, PublishRefused("It has no form."), ValueError("too long"))
TOO_LARGE = caused(Outcome.UNKNOWN, PublishUnconfirmed("The channel closed."), EventTooLarge("no"))
BROKEN = caused(
    Outcome.UNKNOWN, BrokerUnavailable("The connection broke."), ConnectionResetError("reset")
)


@contextmanager
def sending_to(transport: ScriptedTransport) -> Iterator[RowSender]:
    sender = RowSender(transport.settings, TOKEN)
    try:
        yield sender
    finally:
        sender.close()


@pytest.fixture
def sender(scripted: ScriptedTransport) -> Iterator[RowSender]:
    with sending_to(scripted) as sender:
        yield sender


def attempted(names: list[str], attempts: int) -> None:
    outbox(DEFAULT).filter(event_id__in=names).update(attempts=attempts)


def send(sender: RowSender, *names: str) -> Sent:
    """Send these rows, which are written unless they are there."""
    put(*[name for name in names if name not in there()])
    return sender.send(outbox(DEFAULT).claim(100, TOKEN, LONG), DEFAULT)


def row(name: str) -> OutboxEvent:
    found: OutboxEvent = outbox(DEFAULT).get(event_id=name)
    return found


class TestConfirmed:
    def test_it_is_held_until_it_is_settled(self, sender: RowSender) -> None:
        sent = send(sender, "a", "b")

        assert sent == Sent(ids=[row("a").pk, row("b").pk])
        assert [each.lease_token for each in outbox(DEFAULT)] == [TOKEN] * 2
        sender.settle(sent.ids, DEFAULT)
        assert there() == []

    def test_settling_none_asks_no_database(self, sender: RowSender) -> None:
        sender.settle([], "nowhere")

    def test_they_are_published_in_order_and_together(
        self, sender: RowSender, scripted: ScriptedTransport
    ) -> None:
        send(sender, "a", "b", "c")

        assert scripted.batches == [["a", "b", "c"]]

    def test_one_that_another_holds_by_now_may_be_sent_twice(
        self, sender: RowSender, caplog: pytest.LogCaptureFixture
    ) -> None:
        sent = send(sender, "a", "b")
        outbox(DEFAULT).filter(event_id="b").update(lease_token="theirs")
        sender.settle(sent.ids, DEFAULT)

        assert there() == ["b"]
        assert caplog.messages == [
            "1 events were confirmed after their leases had ended; they may be sent twice."
        ]


class TestUnroutable:
    @pytest.mark.parametrize("policy", ["ignore", "log"])
    def test_it_is_done(self, script: MakeScripted, policy: str) -> None:
        with sending_to(script(UNROUTABLE=policy)) as sender:
            sent = self.send_one_for_nobody(sender)

        assert sent == Sent(ids=[row("a").pk, row("b").pk])

    def test_or_parked_where_it_is_an_error(
        self, script: MakeScripted, failures: list[dict[str, Any]]
    ) -> None:
        with sending_to(script(UNROUTABLE="raise")) as sender:
            sent = self.send_one_for_nobody(sender)

        assert sent == Sent(ids=[row("b").pk], parked=1)
        assert row("a").due_at is None
        assert "No queue is bound for 'order.placed'" in row("a").error
        assert [type(told["error"]) for told in failures] == [UnroutableEvent]

    def send_one_for_nobody(self, sender: RowSender) -> Sent:
        transport = transport_for(sender.settings)
        assert isinstance(transport, ScriptedTransport)
        transport.answer_for(a=PublishResult(Outcome.UNROUTABLE))
        return send(sender, "a", "b")


class TestRefused:
    def test_it_is_tried_again_later(self, sender: RowSender, scripted: ScriptedTransport) -> None:
        scripted.answer_for(a=REFUSED)
        sent = send(sender, "a", "b")

        assert (sent.ids, sent.postponed, sent.parked) == ([row("b").pk], 1, 0)
        assert sent.outage is None
        assert (row("a").attempts, row("a").error) == (1, "The queue is full.")
        assert row("a").lease_token == ""
        assert not outbox(DEFAULT).leased().filter(event_id="a").exists()

    @pytest.mark.parametrize(
        ("attempts", "least", "most"), [(0, 0.5, 1), (5, 16, 32), (8, 128, 256), (15, 150, 300)]
    )
    def test_the_wait_doubles_up_to_five_minutes(
        self,
        sender: RowSender,
        scripted: ScriptedTransport,
        attempts: int,
        least: float,
        most: float,
    ) -> None:
        scripted.answer_for(a=REFUSED)
        put("a")
        attempted(["a"], attempts)
        begun = outbox(DEFAULT).annotate(now=FromNow()).get().now
        send(sender, "a")

        due_at = only_row().due_at
        assert due_at is not None
        assert (due_at - begun).total_seconds() >= least
        assert outbox(DEFAULT).filter(due_at__lte=FromNow(most)).exists()

    def test_until_it_was_tried_twenty_times(
        self, sender: RowSender, scripted: ScriptedTransport, failures: list[dict[str, Any]]
    ) -> None:
        scripted.answer_for(a=REFUSED, b=REFUSED)
        put("a", "b")
        attempted(["a"], 19)
        attempted(["b"], 18)
        sent = send(sender, "a", "b")

        assert (sent.parked, sent.postponed) == (1, 1)
        assert (row("a").due_at, row("a").attempts) == (None, 20)
        assert row("b").due_at is not None
        assert [told["event_id"] for told in failures] == ["a"]

    def test_what_could_not_even_be_written_is_parked(
        self, sender: RowSender, scripted: ScriptedTransport
    ) -> None:
        scripted.answer_for(a=UNWRITABLE)
        sent = send(sender, "a", "b")

        assert (len(sent.ids), sent.parked) == (1, 1)
        assert (row("a").due_at, row("a").error) == (None, "It has no form.")


class TestUnknown:
    @pytest.mark.parametrize("result", [UNWRITTEN, CLOSED], ids=["no broker", "closed"])
    def test_what_did_not_leave_is_given_back_as_it_was(
        self, sender: RowSender, scripted: ScriptedTransport, result: PublishResult
    ) -> None:
        scripted.answer = lambda message: result
        sent = send(sender, "a", "b")

        assert sent == Sent(outage=result.error)
        for each in outbox(DEFAULT):
            assert (each.attempts, each.error, each.lease_token) == (0, "", "")
        assert outbox(DEFAULT).due().count() == 2

    def test_what_was_not_answered_is_tried_again_later(
        self, sender: RowSender, scripted: ScriptedTransport
    ) -> None:
        scripted.answer_for(b=UNANSWERED)
        sent = send(sender, "a", "b")

        assert (sent.ids, sent.postponed) == ([row("a").pk], 1)
        assert isinstance(sent.outage, PublishUnconfirmed)
        assert row("b").attempts == 1
        assert "did not confirm the event b" in row("b").error

    def test_one_of_several_that_were_lost_together_is_nobody_s_fault_yet(
        self,
        sender: RowSender,
        scripted: ScriptedTransport,
        failures: list[dict[str, Any]],
    ) -> None:
        scripted.answer = lambda message: TOO_LARGE
        sent = send(sender, "a", "b")

        assert (sent.ids, sent.postponed, sent.parked) == ([], 2, 0)
        assert sent.outage is None  # the broker is there
        assert failures == []

    def test_alone_it_is_its_own(
        self, sender: RowSender, scripted: ScriptedTransport, failures: list[dict[str, Any]]
    ) -> None:
        scripted.answer_for(b=TOO_LARGE)
        put("a", "b", "c")
        attempted(["a", "b", "c"], 1)
        sent = send(sender, "a", "b", "c")

        assert scripted.batches == [["a"], ["b"], ["c"]]
        assert (len(sent.ids), sent.parked, sent.outage) == (2, 1, None)
        assert row("b").due_at is None
        assert [told["event_id"] for told in failures] == ["b"]

    def test_alone_it_is_not_to_blame_for_a_broken_connection(
        self, sender: RowSender, scripted: ScriptedTransport
    ) -> None:
        scripted.answer = lambda message: BROKEN
        sent = send(sender, "a")

        assert sent == Sent(outage=BROKEN.error)

    def test_an_outage_leaves_the_rest_for_later(
        self, sender: RowSender, scripted: ScriptedTransport
    ) -> None:
        scripted.answer_for(b=UNWRITTEN)
        put("a", "b", "c", "d")
        attempted(["c", "d"], 3)
        sent = send(sender, "a", "b", "c", "d")

        assert scripted.batches == [["a", "b"]]
        assert sent.ids == [row("a").pk]
        assert [each.event_id for each in outbox(DEFAULT).due().order_by("pk")] == ["b", "c", "d"]
        assert row("c").attempts == 3

    def test_fresh_ones_go_together_and_first(
        self, sender: RowSender, scripted: ScriptedTransport
    ) -> None:
        put("a", "b", "c", "d")
        attempted(["a", "c"], 1)
        send(sender, "a", "b", "c", "d")

        assert scripted.batches == [["b", "d"], ["a"], ["c"]]


class TestConfiguration:
    """Such as a permission that the broker refuses: no event is to blame."""

    def test_it_is_an_outage_until_it_is_right(
        self, sender: RowSender, scripted: ScriptedTransport
    ) -> None:
        error = TopologyMismatch("The exchange is another.")

        def refuse(message: Message) -> PublishResult:
            raise error

        scripted.answer = refuse
        put("a", "b", "c")
        attempted(["c"], 3)
        sent = send(sender, "a", "b", "c")

        assert sent == Sent(outage=error)
        assert [(each.attempts, each.lease_token) for each in outbox(DEFAULT).order_by("pk")] == [
            (0, ""),
            (0, ""),
            (3, ""),
        ]
        assert outbox(DEFAULT).due().count() == 3


class TestParked:
    """Somebody must hear of it, and nobody may read what is in it."""

    def test_one_line_and_one_signal_with_id_and_key(
        self,
        sender: RowSender,
        scripted: ScriptedTransport,
        failures: list[dict[str, Any]],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        scripted.answer_for(a=UNWRITABLE)
        send(sender, "a", "b")

        (record,) = caplog.records
        assert record.levelno == logging.ERROR
        assert record.getMessage() == (
            "Event a ('order.placed') is parked in the outbox of 'default': It has no form."
        )
        (told,) = failures
        del told["signal"]
        assert told == {
            "sender": OutboxEvent,
            "event_id": "a",
            "routing_key": "order.placed",
            "error": UNWRITABLE.error,
            "using": DEFAULT,
        }

    def test_a_receiver_that_fails_disturbs_nobody(
        self, sender: RowSender, scripted: ScriptedTransport, failures: list[dict[str, Any]]
    ) -> None:
        def fail(**kwargs: Any) -> None:
            raise RuntimeError("the pager is away")

        scripted.answer_for(a=UNWRITABLE)
        event_publish_failed.connect(fail)
        try:
            assert send(sender, "a", "b").parked == 1
        finally:
            event_publish_failed.disconnect(fail)

    def test_nobody_hears_of_one_that_another_has_by_now(
        self,
        sender: RowSender,
        scripted: ScriptedTransport,
        failures: list[dict[str, Any]],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def answer_too_late(message: Message) -> PublishResult:
            outbox(DEFAULT).update(due_at=FromNow(LONG), lease_token="theirs")
            return UNWRITABLE

        scripted.answer = answer_too_late
        send(sender, "a")

        assert (failures, caplog.records) == ([], [])
        assert (only_row().lease_token, only_row().attempts) == ("theirs", 0)

    def test_an_error_s_text_is_made_to_fit(
        self, sender: RowSender, scripted: ScriptedTransport
    ) -> None:
        scripted.answer_for(a=caused(Outcome.REFUSED, PublishRefused("\0" * 2_000), ValueError()))
        send(sender, "a")

        assert only_row().error == "\\0" * 500


class TestLeases:
    def test_they_are_kept_while_the_broker_takes_its_time(self, script: MakeScripted) -> None:
        slow = script(LEASE=0.5)

        def answer_late(message: Message) -> PublishResult:
            first = only_row().due_at
            assert first is not None
            wait_until(lambda: outbox(DEFAULT).filter(due_at__gt=first).exists())
            return CONFIRMED

        slow.answer = answer_late
        put("a")
        with sending_to(slow) as sender:
            sent = sender.send(outbox(DEFAULT).claim(1, TOKEN, 0.5), DEFAULT)
            sender.settle(sent.ids, DEFAULT)

        assert there() == []


def test_ended_is_before_now() -> None:
    """The other tests of rows rest on it."""
    put("a", lease_seconds=ENDED)

    assert outbox(DEFAULT).due().exists()
