"""Dead letters of other programs, and nonsense in headers: none is lost, none blocks the others."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pytest_django import Settings

from domain_event_broker.django import conf, dead_letters
from domain_event_broker.django.dead_letters import Selection
from domain_event_broker.django.dead_letters.stories import to_replay
from domain_event_broker.messages import Message
from tests.django.marks import both_databases

from .letters import (
    collect,
    declare,
    delivered,
    foreign,
    in_queue,
    letter,
    only_row,
    put,
    rows,
    states,
    waiting,
)

pytestmark = both_databases


class Foreign:
    def test_a_row_tells_what_is_known(self, bill: str) -> None:
        put(foreign("a", headers={"tenant": "x", "deb-routing-key": "order.placed"}))
        collect()

        row = only_row()
        assert (row.event_id, row.handler, row.routing_key) == ("a", "bill", "order.placed")
        assert (row.reason, row.error_type, row.error_message, row.traceback) == ("", "", "", "")
        assert (row.attempts, row.first_failed_at, row.process_id) == (None, None, None)
        assert row.identity.startswith("sha256:")
        assert row.failed_at is not None
        assert "tenant" in row.properties

    def test_equal_ones_are_one_row(self, bill: str) -> None:
        put(foreign("a"), foreign("a"), foreign("b"))
        collect()
        put(foreign("a"))
        collect()

        assert waiting() == ["a", "b"]
        assert in_queue() == 0

    @pytest.mark.parametrize(
        "change",
        [{"body": b"{}"}, {"headers": {"tenant": "x"}}, {"routing_key": "order.paid"}],
        ids=str,
    )
    def test_what_differs_in_anything_is_another(self, bill: str, change: dict[str, Any]) -> None:
        put(foreign("a"), foreign("a", **change))
        collect()

        assert len(rows()) == 2

    def test_those_of_another_handler_are_others(self, bill: str) -> None:
        declare("mail")
        put(foreign("a"))
        put(foreign("a"), handler="mail")
        collect()
        collect("mail")

        assert len(rows()) == 2

    def test_one_that_was_settled_and_comes_again_is_another_failure(self, bill: str) -> None:
        for number in range(3):
            put(foreign("a"))
            collect()
            assert len(rows()) == number + 1
            assert waiting() == ["a"]
            dead_letters.discard(Selection(), "somebody")

    def test_a_replay_that_another_program_rejects_waits_again(self, bill: str) -> None:
        """It carries the id of the failure that was replayed, and no other."""
        put(letter("a"))
        collect()
        replay = to_replay(only_row(), "somebody")
        dead_letters.replay(Selection(), conf.required(), "somebody")
        assert len(delivered()) == 1
        put(replay)
        collect()

        assert [(row.event_id, row.state) for row in rows()] == [
            ("a", "replayed"),
            ("a", "waiting"),
        ]
        assert in_queue() == 0


class TestForeignInsideTheProject(Foreign):
    pass


class TestForeignOnRabbitmq(Foreign):
    @pytest.fixture
    def bill(self, broker_url: str, settings: Settings) -> str:
        settings.DOMAIN_EVENT_BROKER = {"URL": broker_url, "SERVICE": "shop"}
        declare("bill")
        return "bill"


NESTED: Any = []
for _ in range(200):
    NESTED = [NESTED]

NONSENSE: dict[str, dict[str, Any]] = {
    "NULs": {"error_message": "a\0b", "error_type": "\0", "host": "\0", "error_traceback": "\0"},
    "lone surrogates": {"error_message": "\ud800", "error_place": "\udfff"},
    "bytes": {"error_message": b"\xff", "attempts": b"1", "failed_at_ms": b"\x00"},
    "huge numbers": {
        "attempts": 2**63 - 1,
        "process_id": 2**40,
        "failed_at_ms": 2**63 - 1,
        "first_failed_at_ms": -(2**62),
    },
    "the first and the last moment": {
        "failed_at_ms": 253_402_300_799_999,
        "first_failed_at_ms": -62_135_596_800_000,
    },
    "negative numbers": {"attempts": -1, "process_id": -1, "failed_at_ms": -1},
    "truths": {"attempts": True, "failed_at_ms": True, "error_message": False},
    "nothing": {"attempts": None, "failed_at_ms": None, "error_message": None, "reason": None},
    "floats": {"attempts": math.nan, "failed_at_ms": math.inf, "process_id": 1.5},
    "lists and tables": {"attempts": [1], "error_message": {"a": b"\x00"}, "host": []},
    "times and decimals": {"failed_at_ms": datetime(2026, 1, 1, tzinfo=UTC), "host": Decimal(1)},
    "endless texts": {
        "error_message": "x" * 100_000,
        "error_traceback": "é" * 100_000,
        "error_type": "é" * 1_000,
        "reason": "r" * 1_000,
        "app_version": "v" * 1_000,
    },
    "no id of the failure": {"dead_letter_id": ""},
    "another type of id": {"dead_letter_id": b"id"},
    "a long id": {"dead_letter_id": "i\0" * 400},
    "deep nesting": {"host": NESTED},
}


class TestNonsense:
    @pytest.mark.parametrize("case", NONSENSE)
    def test_a_row_holds_what_makes_sense_of_it(self, bill: str, case: str) -> None:
        put(letter("a"), letter("b", **NONSENSE[case]), letter("c"))

        assert collect() == 3
        assert waiting() == ["a", "b", "c"]
        assert in_queue() == 0
        for row in rows():
            row.refresh_from_db()  # all databases read it back
            assert len(row.error_message) <= 20_000
        assert dead_letters.replay(Selection(), conf.required(), "somebody").count == 3
        assert {each.message_id for each in delivered(count=3)} == {"a", "b", "c"}

    @pytest.mark.parametrize(
        "message",
        [
            Message("", b""),
            Message("order.placed", b"\xff\x00", message_id="\0\ud800"),
            Message("\0\ud800", b"{", message_id="x" * 1_000),
            Message(
                "é" * 127, b"\x00" * 100_000, message_id="a", headers={"\0": "\ud800", "n": 2**200}
            ),
            Message("a.b", b"{}", message_id="a", headers={"deep": {"er": [b"\xff", {"x": None}]}}),
        ],
        ids=["nothing", "bytes", "surrogates", "large", "nested"],
    )
    def test_whatever_a_message_is_it_becomes_a_row(self, bill: str, message: Message) -> None:
        put(message, letter("b"))

        assert collect() == 2
        assert bytes(rows()[0].body) == message.body
        assert in_queue() == 0

    def test_one_that_no_table_holds_stays_and_the_others_go(
        self, broker: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        endless: Any = []
        for _ in range(50_000):
            endless = [endless]
        declare("bill")
        put(letter("a"), letter("b", tenant=endless), letter("c"))

        assert collect() == 2
        assert states() == {"a": "waiting", "c": "waiting"}
        assert in_queue() == 1
        assert "A dead letter of bill stays in its queue" in caplog.text
