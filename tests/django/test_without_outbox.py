"""``"OUTBOX": False``: the commit itself sends, and waits for the broker."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

import pytest
from django.db import transaction
from django.test import TestCase

from domain_event_broker import DomainEvent, Outcome, publish_domain_event, publish_domain_events
from domain_event_broker.django.background import publisher
from domain_event_broker.django.models import OutboxEvent
from domain_event_broker.errors import BrokerUnavailable
from domain_event_broker.transports.base import PublishResult

from .databases import without_table
from .marks import both_databases
from .rows import DEFAULT
from .scripted import MakeScripted, ScriptedTransport

pytestmark = both_databases

AWAY = PublishResult(Outcome.UNKNOWN, BrokerUnavailable("Nobody is there."))


@pytest.fixture
def scripted(script: MakeScripted) -> ScriptedTransport:
    return script(OUTBOX=False, PUBLISH_TIMEOUT=0.1)


def test_the_commit_sends_in_this_thread_and_stores_nothing(scripted: ScriptedTransport) -> None:
    with without_table(OutboxEvent, DEFAULT):
        with transaction.atomic():
            publish_domain_event("order.placed", {}, uuid_string="a")
            (result,) = publish_domain_events([DomainEvent("order.placed", uuid_string="b")])
            assert scripted.published == []
        assert scripted.published == ["a", "b"]
        publish_domain_event("order.placed", {}, uuid_string="c")

    assert result.outcome is Outcome.DEFERRED
    assert scripted.published == ["a", "b", "c"]
    assert publisher._thread is None


def test_a_rollback_sends_nothing(scripted: ScriptedTransport) -> None:
    with suppress(ZeroDivisionError), transaction.atomic():
        publish_domain_event("order.placed", {})
        raise ZeroDivisionError

    assert scripted.published == []


class TestFailure:
    @pytest.fixture(autouse=True)
    def away(self, scripted: ScriptedTransport) -> None:
        scripted.answer = lambda message: AWAY

    def test_outside_a_transaction_it_is_raised(self, failures: list[dict[str, Any]]) -> None:
        with pytest.raises(BrokerUnavailable):
            publish_domain_event("order.placed", {})

        assert failures == []

    def test_after_a_commit_it_is_logged_and_signalled(
        self, failures: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
    ) -> None:
        with transaction.atomic(using="other"):
            publish_domain_event("order.placed", {"card": "1234-5678"}, uuid_string="a")

        (record,) = caplog.records
        assert record.levelno == logging.ERROR
        assert record.getMessage() == (
            "Event a ('order.placed') was committed but is not published: Nobody is there."
        )
        assert "1234-5678" not in caplog.text
        (told,) = failures
        del told["signal"]
        assert told == {
            "sender": DomainEvent,
            "event_id": "a",
            "routing_key": "order.placed",
            "error": AWAY.error,
            "using": "other",
        }

    def test_each_of_many_is_told_by_itself(
        self, scripted: ScriptedTransport, failures: list[dict[str, Any]]
    ) -> None:
        scripted.answer_for(a=AWAY, c=AWAY)
        with transaction.atomic():
            publish_domain_events([DomainEvent("a.b", uuid_string=name) for name in "abc"])

        assert [told["event_id"] for told in failures] == ["a", "c"]

    def test_what_nobody_expected_is_told_too(
        self, scripted: ScriptedTransport, failures: list[dict[str, Any]]
    ) -> None:
        def fail(message: object) -> PublishResult:
            raise ZeroDivisionError

        scripted.answer = fail
        with transaction.atomic():
            publish_domain_events([DomainEvent("a.b", uuid_string=name) for name in "ab"])

        assert [(told["event_id"], type(told["error"])) for told in failures] == [
            ("a", ZeroDivisionError),
            ("b", ZeroDivisionError),
        ]


class TestInDjangosTestCase(TestCase):
    @pytest.fixture(autouse=True)
    def broker_at_hand(self, scripted: ScriptedTransport) -> None:
        self.scripted = scripted

    def test_a_commit_that_is_played_sends(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            publish_domain_event("order.placed", {}, uuid_string="a")

        assert self.scripted.published == ["a"]
