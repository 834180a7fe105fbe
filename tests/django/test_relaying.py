"""The relay: what is in the outbox and nobody sends, it sends."""

from __future__ import annotations

from collections import Counter

import pytest
from django.db import connections
from pytest_django import Settings

from domain_event_broker import DomainEvent
from domain_event_broker.django import conf, relaying
from domain_event_broker.django.inserting import write_to_outbox
from domain_event_broker.django.relaying import Relayed, RelayThread, has_outbox
from domain_event_broker.django.sending import outbox
from domain_event_broker.django.stopping import StopSign
from domain_event_broker.encoding import encode
from domain_event_broker.errors import PublishRefused
from domain_event_broker.transports.base import Outcome, PublishResult
from tests.support.threads import at_once
from tests.support.waiting import wait_until

from .listener import Listener
from .marks import both_databases
from .relays import a_relay, running_relay
from .rows import DEFAULT, LONG, only_row, put, there
from .scripted import ScriptedTransport

pytestmark = both_databases

REFUSED = PublishResult(Outcome.REFUSED, PublishRefused("The queue is full."))
UNWRITABLE = PublishResult(Outcome.REFUSED, PublishRefused("It has no form."))
assert UNWRITABLE.error is not None
UNWRITABLE.error.__cause__ = ValueError()


class TestSweeping:
    def test_it_sends_all_that_is_due_in_order(self, scripted: ScriptedTransport) -> None:
        put("a", "b", "c")
        with a_relay() as relay:
            assert relay.sweep() == Relayed(sent=3)

        assert scripted.published == ["a", "b", "c"]
        assert there() == []

    def test_there_may_be_nothing(self, scripted: ScriptedTransport) -> None:
        with a_relay() as relay:
            assert relay.sweep() == Relayed()

        assert scripted.published == []

    def test_it_leaves_what_others_hold(self, scripted: ScriptedTransport) -> None:
        put("held", lease_seconds=LONG)
        put("due")
        with a_relay() as relay:
            relay.sweep()

        assert (scripted.published, there()) == (["due"], ["held"])

    def test_it_counts_what_cannot_be_sent(self, scripted: ScriptedTransport) -> None:
        scripted.answer_for(a=REFUSED, b=UNWRITABLE)
        put("a", "b", "c")
        with a_relay() as relay:
            assert relay.sweep() == Relayed(sent=1, parked=1, postponed=1)
            assert relay.sweep() == Relayed()

        assert there() == ["a", "b"]

    def test_a_long_backlog_goes_batch_by_batch(
        self, scripted: ScriptedTransport, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(relaying, "BATCH", 3)
        put(*"abcdefgh")
        with a_relay() as relay:
            assert relay.sweep().sent == 8

        assert scripted.batches == [list("abc"), list("def"), list("gh")]

    def test_it_may_be_told_to_send_no_more_than_about_so_many(
        self, scripted: ScriptedTransport, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(relaying, "BATCH", 3)
        put(*"abcdefgh")
        with a_relay() as relay:
            assert relay.sweep(most=4).sent == 6

        assert there() == ["g", "h"]

    def test_once_told_to_stop_it_sends_nothing_more(self, scripted: ScriptedTransport) -> None:
        stop = StopSign()

        def answer(sent: object) -> PublishResult:
            stop.set()
            return PublishResult(Outcome.CONFIRMED)

        scripted.answer = answer
        put("a")
        put("b", using="other")
        with a_relay(stop=stop) as relay:
            assert relay.sweep().sent == 1
            assert relay.sweep() == relay.drain() == Relayed()

        assert (there(), there("other")) == ([], ["b"])

    def test_what_arrives_is_the_event_that_was_stored(self, settings: Settings) -> None:
        settings.DOMAIN_EVENT_BROKER = "database://other"
        event = DomainEvent("order.placed", {"items": ["book"], "name": "Zoë"}, 7)
        stored = encode(event, app_id="shop", max_event_bytes=1_000)
        write_to_outbox([stored], "a token", -1, connections[DEFAULT])
        with Listener("database://other") as listener, a_relay() as relay:
            relay.sweep()

            assert listener.messages == [stored]
            assert listener.events == [event]


class TestDatabases:
    def test_each_is_relayed(self, scripted: ScriptedTransport) -> None:
        put("here")
        put("there", using="other")
        with a_relay() as relay:
            assert relay.sweep().sent == 2

        assert sorted(map(str, scripted.published)) == ["here", "there"]

    def test_or_only_those_named(self, scripted: ScriptedTransport) -> None:
        put("here")
        put("there", using="other")
        with a_relay(["other"]) as relay:
            assert relay.sweep().sent == 1

        assert scripted.published == ["there"]

    def test_there_is_one_that_an_outbox_may_be_in(self, settings: Settings) -> None:
        assert has_outbox()
        settings.DATABASE_ROUTERS = ["tests.django.routers.Nowhere"]
        assert not has_outbox()

    def test_one_where_the_routers_want_no_outbox_is_left_out(
        self, scripted: ScriptedTransport, settings: Settings
    ) -> None:
        settings.DATABASE_ROUTERS = ["tests.django.routers.InOther"]
        put("here")
        put("there", using="other")
        with a_relay() as relay:
            assert relay.sweep().sent == 1

        assert scripted.published == ["there"]


class TestDraining:
    def test_what_others_hold_is_waited_for(self, scripted: ScriptedTransport) -> None:
        put("theirs", lease_seconds=2.0)
        put("due")
        with a_relay() as relay:
            assert relay.drain().sent == 2

        assert scripted.published == ["due", "theirs"]
        assert there() == []

    def test_what_waits_for_another_attempt_is_not(self, scripted: ScriptedTransport) -> None:
        scripted.answer_for(a=REFUSED, b=UNWRITABLE)
        put("a", "b", "c")
        put("delayed")
        outbox(DEFAULT).filter(event_id="delayed").give_back(LONG)
        with a_relay() as relay:
            assert relay.drain() == Relayed(sent=1, parked=1, postponed=1)

        assert there() == ["a", "b", "delayed"]

    def test_it_ends_when_it_is_over(self, scripted: ScriptedTransport) -> None:
        put("theirs", lease_seconds=LONG)
        looks = iter([False, False, True])
        with a_relay() as relay:
            assert relay.drain(lambda: next(looks)) == Relayed()

        assert list(looks) == []


class TestRunning:
    def test_it_sends_what_comes_until_it_is_stopped(self, scripted: ScriptedTransport) -> None:
        put("before")
        with running_relay():
            wait_until(lambda: there() == [])
            put("meanwhile")
            wait_until(lambda: there() == [])
        put("after")

        assert scripted.published == ["before", "meanwhile"]
        assert there() == ["after"]

    def test_beside_something_else(self, scripted: ScriptedTransport) -> None:
        put("a")
        thread = RelayThread(conf.required())
        thread.start()
        wait_until(lambda: there() == [])
        thread.stop(30)

        assert not thread._thread.is_alive()

    def test_stopping_what_was_not_started_is_harmless(self, scripted: ScriptedTransport) -> None:
        RelayThread(conf.required()).stop(30)


class TestAtOnce:
    def test_four_relays_send_each_event_once(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(relaying, "BATCH", 7)
        settings.DOMAIN_EVENT_BROKER = "database://other"
        names = [f"event {number}" for number in range(200)]
        with Listener("database://other") as listener:
            put(*names)

            def sweep() -> int:
                with a_relay([DEFAULT]) as relay:
                    return relay.sweep().sent

            counts = at_once(*[sweep] * 4)
            arrived = Counter(sent.message_id for sent in listener.messages)

        assert sum(counts) == len(names)
        assert arrived == Counter(names)
        assert there() == []

    def test_one_that_lost_its_lease_settles_nothing(
        self, scripted: ScriptedTransport, caplog: pytest.LogCaptureFixture
    ) -> None:
        def answer_after_another_took_over(sent: object) -> PublishResult:
            if len(scripted.batches) == 1:
                outbox(DEFAULT).give_back()
                outbox(DEFAULT).claim(1, "theirs", LONG)
            return PublishResult(Outcome.CONFIRMED)

        scripted.answer = answer_after_another_took_over
        put("a")
        with a_relay() as relay:
            relay.sweep()

        assert only_row().lease_token == "theirs"
        assert "1 events were confirmed after their leases had ended" in caplog.text
