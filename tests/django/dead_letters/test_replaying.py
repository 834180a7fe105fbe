"""Having dead letters handled again: by their own handler, under their own id, each once."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from django.db import connections, transaction
from pytest_django import Settings

from domain_event_broker.django import background, conf, dead_letters
from domain_event_broker.django.dead_letters import Decided, Selection
from domain_event_broker.django.models import OutboxEvent
from domain_event_broker.django.registry import Registry
from domain_event_broker.encoding import decode
from tests.django.command_runs import Handled
from tests.django.marks import both_databases
from tests.django.rows import DEFAULT
from tests.django.runs import Run
from tests.support.threads import at_once
from tests.support.waiting import wait_until

from .letters import (
    LIMIT_SECONDS,
    declare,
    delivered,
    foreign,
    letter,
    only_row,
    rows,
    states,
    store,
    transport,
    waiting,
)

pytestmark = both_databases


def replay(by: str = "ada@desk", **selection: Any) -> Decided:
    return dead_letters.replay(Selection(**selection), conf.required(), by)


def no_message_left(handler: str = "bill") -> bool:
    return delivered(handler, count=0) == []


class Replaying:
    def test_the_event_comes_back_under_its_id_as_if_it_were_new(self, bill: str) -> None:
        store(letter("a", retries=3, due_at_ms=1, causation_id="cause", tenant="x"))

        assert replay() == Decided(count=1)
        (message,) = delivered()
        assert (message.message_id, message.routing_key) == ("a", "order.placed")
        event = decode(message)
        assert (event.uuid_string, event.retries, event.data) == ("a", 0, {"number": 1})
        kept = {key for key in message.headers if key.startswith("deb-")}
        assert kept == {
            "deb-routing-key",
            "deb-causation-id",
            "deb-tenant",
            "deb-dead-letter-id",
            "deb-replayed-at-ms",
            "deb-replayed-by",
        }
        assert message.headers["deb-replayed-by"] == "ada@desk"
        assert message.headers["deb-replayed-at-ms"] > 1_700_000_000_000

    def test_the_row_tells_who_did_it(self, bill: str) -> None:
        store(letter("a"))
        replay()

        row = only_row()
        assert (row.state, row.settled_by) == ("replayed", "ada@desk")
        assert row.settled_at is not None
        assert row.error_message == "not yet"

    def test_nobody_else_gets_it(self, bill: str) -> None:
        declare("mail", "#")
        store(letter("a"))
        replay()

        assert len(delivered("bill")) == 1
        assert no_message_left("mail")

    def test_only_what_is_selected(self, bill: str) -> None:
        store(letter("a"), letter("b", error_type="KeyError"), letter("c"))

        assert replay(error="KeyError").count == 1
        assert [message.message_id for message in delivered()] == ["b"]
        assert states() == {"a": "waiting", "b": "replayed", "c": "waiting"}

    def test_the_oldest_so_many_in_their_order(self, bill: str) -> None:
        store(*(letter(f"{number:02}") for number in range(9)))

        assert replay(limit=5).count == 5
        ids = [message.message_id for message in delivered(count=5)]
        assert ids == ["00", "01", "02", "03", "04"]
        assert waiting() == ["05", "06", "07", "08"]

    def test_none_are_none(self, bill: str) -> None:
        assert replay() == Decided()

    def test_again_there_is_nothing(self, bill: str) -> None:
        store(letter("a"))

        assert (replay().count, replay().count) == (1, 0)
        assert len(delivered()) == 1

    def test_bodies_are_as_they_were(self, bill: str) -> None:
        store(foreign("a", body=b"\xff\x00"), foreign("b", body=b""))
        replay()

        assert [message.body for message in delivered(count=2)] == [b"\xff\x00", b""]

    def test_who_did_it_may_be_told_at_any_length(self, bill: str) -> None:
        store(letter("a"))
        replay(by="\0" + "é" * 1_000)

        assert only_row().settled_by == "\\0" + "é" * 253
        assert delivered()[0].headers["deb-replayed-by"] == only_row().settled_by

    def test_several_batches(self, bill: str) -> None:
        store(*(letter(str(number)) for number in range(1_100)))
        steps: list[tuple[int, int]] = []
        decided = dead_letters.replay(
            Selection(), conf.required(), "ada", lambda done, total: steps.append((done, total))
        )

        assert decided.count == 1_100
        assert steps == [(500, 1_100), (1_000, 1_100), (1_100, 1_100)]
        assert len({message.message_id for message in delivered(count=1_100)}) == 1_100

    def test_it_may_be_broken_off_between_batches(self, bill: str) -> None:
        store(*(letter(str(number)) for number in range(600)))
        done: list[int] = []
        decided = dead_letters.replay(
            Selection(),
            conf.required(),
            "ada",
            lambda so_far, total: done.append(so_far),
            lambda: bool(done),
        )

        assert decided.count == 500
        assert len(waiting()) == 100
        assert len(delivered(count=500)) == 500

    def test_what_fails_again_meanwhile_is_left(self, bill: str) -> None:
        store(*(letter(str(number)) for number in range(501)))

        def fail_again(done: int, total: int) -> None:
            store(letter(f"again {done}"))

        decided = dead_letters.replay(Selection(), conf.required(), "ada", fail_again)

        assert decided.count == 501
        assert waiting() == ["again 500", "again 501"]

    def test_of_several_at_once_each_letter_is_one_s(self, bill: str) -> None:
        store(*(letter(str(number)) for number in range(120)))
        done = at_once(*(partial(replay, f"person {number}") for number in range(3)))
        assert background.publisher.flush(30)

        assert sum(decided.count for decided in done) == 120
        messages = delivered(count=120)
        assert len({message.message_id for message in messages}) == 120
        by = {message.message_id: message.headers["deb-replayed-by"] for message in messages}
        assert by == {row.event_id: row.settled_by for row in rows()}

    def test_one_against_a_discard(self, bill: str) -> None:
        store(*(letter(str(number)) for number in range(60)))
        replayed, discarded = at_once(replay, lambda: dead_letters.discard(Selection(), "eve"))

        assert replayed.count + discarded.count == 60
        assert len(delivered(count=replayed.count)) == replayed.count

    def test_a_transaction_that_is_rolled_back_replays_nothing(self, bill: str) -> None:
        store(letter("a"))
        with transaction.atomic():
            assert replay().count == 1
            transaction.set_rollback(True)

        assert states() == {"a": "waiting"}
        assert only_row().settled_by == ""
        assert no_message_left()
        assert not OutboxEvent.objects.exists()

    def test_it_happens_with_the_commit(self, bill: str) -> None:
        store(letter("a"))
        with transaction.atomic():
            replay()
            assert connections[DEFAULT].in_atomic_block
        assert background.publisher.flush(30)

        assert len(delivered()) == 1

    def test_without_a_queue_they_stay(
        self, bill: str, caplog: pytest.LogCaptureFixture, replayed: list[dict[str, Any]]
    ) -> None:
        store(letter("a"), letter("b"), handler="gone")
        store(letter("c"))
        decided = replay()

        assert decided == Decided(1, {"gone"})
        assert states() == {"a": "waiting", "b": "waiting", "c": "replayed"}
        assert "The handler 'gone' has no queue to replay to" in caplog.text
        assert [told["event_id"] for told in replayed] == ["c"]
        declare("gone")
        assert replay(handlers=["gone"]).count == 2
        assert len(delivered("gone", count=2)) == 2


class TestInsideTheProject(Replaying):
    pass


@pytest.mark.parametrize("scheme", ["memory", "database"])
def test_wherever_routers_want_the_table(alias: str, scheme: str, settings: Settings) -> None:
    settings.DOMAIN_EVENT_BROKER = {"URL": f"{scheme}://{alias}", "SERVICE": "shop"}
    declare()
    store(letter("a"))

    assert replay() == Decided(count=1)
    assert [message.message_id for message in delivered()] == ["a"]


class TestQueuesInAnotherDatabase:
    """The events go by the outbox that is beside the dead letters."""

    @pytest.fixture(autouse=True)
    def _bill(self, settings: Settings) -> None:
        settings.DATABASE_ROUTERS = ["tests.django.routers.LettersInOther"]
        settings.DOMAIN_EVENT_BROKER = {"URL": "database://default", "SERVICE": "shop"}
        declare()

    def test_they_come_back(self) -> None:
        store(letter("a"))

        assert replay() == Decided(count=1)
        assert background.publisher.flush(30)
        assert [message.message_id for message in delivered()] == ["a"]
        assert states() == {"a": "replayed"}
        assert not OutboxEvent.objects.using("other").exists()

    def test_or_wait_again_where_the_handler_has_no_queue(self) -> None:
        store(letter("a"), handler="gone")
        replay()
        assert background.publisher.flush(30)

        assert states() == {"a": "waiting"}
        assert not OutboxEvent.objects.using("other").exists()


class TestOnRabbitmq:
    @pytest.fixture(autouse=True)
    def _bill(self, broker_url: str, settings: Settings) -> None:
        settings.DOMAIN_EVENT_BROKER = {"URL": broker_url, "SERVICE": "shop"}
        declare("bill")

    def test_it_goes_by_the_outbox(self) -> None:
        store(letter("a"), foreign("b", body=b"\xff"))

        assert replay() == Decided(count=2)
        assert background.publisher.flush(30)
        messages = delivered(count=2)
        assert [message.message_id for message in messages] == ["a", "b"]
        assert {message.headers["deb-replayed-by"] for message in messages} == {"ada@desk"}
        assert not OutboxEvent.objects.exists()
        assert set(states().values()) == {"replayed"}

    def test_of_several_at_once_each_letter_is_one_s(self) -> None:
        store(*(letter(str(number)) for number in range(60)))
        done = at_once(replay, replay)
        assert background.publisher.flush(30)

        assert sum(decided.count for decided in done) == 60
        assert len({message.message_id for message in delivered(count=60)}) == 60

    def test_without_a_queue_they_wait_again(self) -> None:
        store(letter("a"), handler="gone")
        store(letter("b"))
        replay()
        assert background.publisher.flush(30)

        assert states() == {"a": "waiting", "b": "replayed"}
        assert rows()[0].settled_by == ""
        assert len(delivered()) == 1
        assert not OutboxEvent.objects.exists()

    def test_a_run_sends_what_waits_with_the_outbox_off_too(
        self,
        broker_url: str,
        settings: Settings,
        handlers: Registry,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Whoever replayed died before the send."""
        settings.DOMAIN_EVENT_BROKER = {"URL": broker_url, "OUTBOX": False, "LEASE": 0.5}
        monkeypatch.setattr(background.publisher, "hand_over", lambda events: None)
        store(letter("a"))
        replay()
        assert OutboxEvent.objects.filter(handler="bill").count() == 1
        bill = Handled("order.*", name="bill")
        with Run():
            wait_until(lambda: bill.events, LIMIT_SECONDS)

        assert [event.uuid_string for event in bill.events] == ["a"]
        assert not OutboxEvent.objects.exists()

    def test_a_3x_topology_too(self, broker_url: str, settings: Settings) -> None:
        settings.DOMAIN_EVENT_BROKER = {"URL": broker_url, "TOPOLOGY": "3.x", "SERVICE": "shop"}
        declare("old")
        store(letter("a", handler="old"), handler="old")
        store(letter("b"), handler="gone")
        replay()
        assert background.publisher.flush(30)

        (message,) = delivered("old")
        assert (message.message_id, message.routing_key) == ("a", "order.placed")
        assert states() == {"a": "replayed", "b": "waiting"}


def test_the_transport_is_the_project_s(bill: str) -> None:
    """The other tests rest on it."""
    assert transport().settings == conf.required()
