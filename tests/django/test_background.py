"""The background publisher: what is committed leaves at once, and its rows with it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from django.db import connections, transaction
from pytest_django import Settings

from domain_event_broker import DomainEvent, publish_domain_event, publish_domain_events
from domain_event_broker.django import background, relaying
from domain_event_broker.django import publish_domain_event as publish_using
from domain_event_broker.django.background import publisher
from domain_event_broker.django.sending import outbox
from domain_event_broker.messages import Message
from domain_event_broker.transports import transport_for
from domain_event_broker.transports.base import PublishResult
from tests.support.threads import start_thread
from tests.support.waiting import wait_until

from .listener import Listener
from .marks import both_databases
from .relays import a_relay
from .rows import DEFAULT, put, there
from .scripted import CONFIRMED, MakeScripted, ScriptedTransport

pytestmark = both_databases

LIMIT_SECONDS = 30.0


def publish(*names: str) -> None:
    """An event of each name, all in one transaction."""
    with transaction.atomic():
        for name in names:
            publish_domain_event("order.placed", {}, uuid_string=name)


def flush() -> None:
    assert publisher.flush(LIMIT_SECONDS)


class Gate:
    """A broker that takes its time: each publish waits until it is let through."""

    def __init__(self, transport: ScriptedTransport) -> None:
        self._open = threading.Event()
        self._transport = transport
        transport.answer = self._answer

    def _answer(self, message: Message) -> PublishResult:
        assert self._open.wait(LIMIT_SECONDS)
        return CONFIRMED

    def wait_for_somebody(self) -> None:
        wait_until(lambda: self._transport.batches)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate(scripted: ScriptedTransport) -> Iterator[Gate]:
    made = Gate(scripted)
    yield made
    made.open()


class TestSending:
    def test_what_is_committed_arrives_and_its_rows_go(self, settings: Settings) -> None:
        settings.DOMAIN_EVENT_BROKER = "database://other"
        with Listener("database://other") as listener:
            with transaction.atomic():
                events = [publish_domain_event(f"order.{number}", {}) for number in range(5)]
                assert len(there()) == 5
                assert listener.events == []
            flush()

            assert listener.events == events
        assert there() == []

    def test_in_the_order_of_the_commits(self, scripted: ScriptedTransport) -> None:
        with transaction.atomic(using="other"):
            publish_using("order.placed", {}, uuid_string="last", using="other")
            publish("first", "second")
            publish("third")
        flush()

        assert scripted.published == ["first", "second", "third", "last"]
        assert there() == there("other") == []

    def test_outside_a_transaction_too(self, scripted: ScriptedTransport) -> None:
        publish_domain_event("order.placed", {}, uuid_string="a")
        flush()

        assert (scripted.published, there()) == (["a"], [])

    def test_nothing_of_what_was_rolled_back(self, scripted: ScriptedTransport) -> None:
        with suppress(ZeroDivisionError), transaction.atomic():
            publish_domain_event("order.placed", {}, uuid_string="not")
            raise ZeroDivisionError
        with transaction.atomic():
            publish_domain_event("order.placed", {}, uuid_string="a")
            with suppress(ZeroDivisionError), transaction.atomic():
                publish_domain_event("order.placed", {}, uuid_string="nor")
                raise ZeroDivisionError
        flush()

        assert scripted.published == ["a"]

    def test_the_commit_does_not_wait_for_the_broker(
        self, gate: Gate, scripted: ScriptedTransport
    ) -> None:
        publish("a")
        gate.wait_for_somebody()
        publish("b", "c")

        assert there() == ["a", "b", "c"]
        assert scripted.batches == [["a"]]

    def test_what_comes_meanwhile_goes_together(
        self, gate: Gate, scripted: ScriptedTransport
    ) -> None:
        publish("a")
        gate.wait_for_somebody()
        for name in "bcdef":
            publish(name)
        gate.open()
        flush()

        assert scripted.batches == [["a"], list("bcdef")]
        assert there() == []

    def test_a_large_transaction_goes_in_parts(self, scripted: ScriptedTransport) -> None:
        names = [f"event {number}" for number in range(1_200)]
        with transaction.atomic():
            publish_domain_events([DomainEvent("a.b", uuid_string=name) for name in names])
        flush()

        assert scripted.published == names
        assert max(map(len, scripted.batches)) <= 500
        assert there() == []

    def test_each_event_goes_to_the_broker_of_its_call(self, script: MakeScripted) -> None:
        first = script()
        publish("a")
        second = script()
        publish("b")
        flush()

        assert (first.published, second.published) == (["a"], ["b"])
        assert there() == []

    def test_what_is_handed_over_twice_is_sent_twice_and_deleted_once(
        self, scripted: ScriptedTransport
    ) -> None:
        """As a hook that somebody ran again; copies are the inbox's to find."""
        with transaction.atomic():
            publish_domain_event("order.placed", {}, uuid_string="a")
            (entry,) = connections[DEFAULT].run_on_commit
        entry[1]()
        flush()

        assert set(scripted.published) == {"a"}
        assert there() == []


class TestLeavingToTheRelay:
    def test_what_does_not_fit(self, script: MakeScripted, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(background, "_MAX_WAITING", 3)
        for no_sweep in ("_FIRST_SWEEP_SECONDS", "_LEASE_MARGIN_SECONDS"):
            monkeypatch.setattr(background, no_sweep, 3600.0)
        scripted = script(LEASE=0.5)
        gate = Gate(scripted)
        publish("a")
        gate.wait_for_somebody()
        publish("b", "c", "d", "e")
        publish("f")
        gate.open()
        flush()

        assert scripted.published == list("abcd")
        assert there() == ["e", "f"]
        with a_relay() as relay:
            assert relay.drain().sent == 2
        assert scripted.published == list("abcdef")

    def test_what_does_not_fit_is_sent_once_its_lease_ended(
        self, script: MakeScripted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(background, "_MAX_WAITING", 1)
        monkeypatch.setattr(background, "_FIRST_SWEEP_SECONDS", 3600.0)
        monkeypatch.setattr(background, "_LEASE_MARGIN_SECONDS", 0.1)
        scripted = script(LEASE=0.5)
        publish("before")
        wait_until(lambda: there() == [])
        gate = Gate(scripted)
        publish("a")
        gate.wait_for_somebody()
        publish("b", "c", "d")
        gate.open()

        wait_until(lambda: there() == [])
        assert set(scripted.published) == {"a", "b", "before", "c", "d"}

    def test_what_comes_when_there_are_no_threads_any_more(
        self, scripted: ScriptedTransport, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread at interpreter shutdown")

        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            publish("a")
        flush()

        assert (scripted.published, there()) == ([], ["a"])
        publish("b")
        flush()
        assert (scripted.published, there()) == (["b"], ["a"])

    def test_what_another_claimed_while_the_transaction_took_long(
        self, scripted: ScriptedTransport
    ) -> None:
        with transaction.atomic():
            publish_domain_event("order.placed", {}, uuid_string="theirs")
            publish_domain_event("order.placed", {}, uuid_string="ours")
            hooks: list[Any] = [entry[1] for entry in connections[DEFAULT].run_on_commit]
            connections[DEFAULT].run_on_commit.clear()
        outbox(DEFAULT).filter(event_id="theirs").update(lease_token="theirs")
        events = [event for hook in hooks for event in hook.events]
        publisher.hand_over([replace(event, leased_until=0.0) for event in events])
        flush()

        assert scripted.published == ["ours"]
        assert there() == ["theirs"]


class TestSweeping:
    def test_what_a_dead_process_left_is_sent_soon(
        self, scripted: ScriptedTransport, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(background, "_FIRST_SWEEP_SECONDS", 0.0)
        put("left behind")
        put("there", using="other")
        publish("a")
        wait_until(lambda: len(scripted.published) == 3)
        wait_until(lambda: there() == there("other") == [])

        assert scripted.published[0] == "a"

    def test_new_events_do_not_wait_for_a_long_backlog(
        self, scripted: ScriptedTransport, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(background, "_FIRST_SWEEP_SECONDS", 0.0)
        monkeypatch.setattr(relaying, "BATCH", 2)
        put(*[f"old {number}" for number in range(10)])

        def answer(message: Message) -> PublishResult:
            if message.message_id == "old 3":
                start_thread(publish, "new").join(LIMIT_SECONDS)
            return CONFIRMED

        scripted.answer = answer
        publish("a")
        wait_until(lambda: there() == [])

        assert scripted.published.index("new") < scripted.published.index("old 6")


class TestTheThread:
    def test_it_keeps_no_database_connection_while_it_is_idle(
        self, scripted: ScriptedTransport, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(background, "_IDLE_SECONDS", 0.05)
        used = []

        def answer(message: Message) -> PublishResult:
            used.append(connections[DEFAULT])
            return CONFIRMED

        scripted.answer = answer
        for name in ("a", "b"):
            publish(name)
            flush()
            wait_until(lambda: used[0].connection is None)

        assert used == used[:1] * 2

    def test_closing_sends_what_is_there_and_ends_it(self, scripted: ScriptedTransport) -> None:
        publish("a", "b")
        publisher.close()

        assert (scripted.published, there()) == (["a", "b"], [])
        assert publisher._thread is None

    def test_after_that_it_begins_anew(self, scripted: ScriptedTransport) -> None:
        for name in ("a", "b"):
            publish(name)
            publisher.close()
            publisher.close()

        assert (scripted.published, there()) == (["a", "b"], [])

    def test_closing_waits_no_longer_than_it_is_told_to(
        self, gate: Gate, scripted: ScriptedTransport
    ) -> None:
        publish("a")
        gate.wait_for_somebody()
        publisher.close(timeout_seconds=0.01)

        assert there() == ["a"]

    def test_one_that_ends_in_an_error_is_followed_by_another(
        self, scripted: ScriptedTransport, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail_once(message: Message) -> PublishResult:
            scripted.answer = lambda message: CONFIRMED
            raise SystemExit

        scripted.answer = fail_once
        publish("a")
        wait_until(lambda: publisher._thread is None)
        publish("b")
        flush()

        assert caplog.messages == ["The background publisher ends; the relay sends what is left."]
        assert there() == ["a"]
        assert transport_for(scripted.settings) is scripted

    def test_without_any_event_there_is_none(self) -> None:
        assert publisher._thread is None
        assert publisher.flush(0)
        publisher.close()
