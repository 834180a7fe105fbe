"""``replay_dead_letters`` that only looks: lists, kinds and numbers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pytest_django import Settings

from domain_event_broker.django.models import DeadLetter
from domain_event_broker.django.registry import Registry
from domain_event_broker.handling import now_ms

from .command_runs import Failing, replay
from .dead_letters.letters import body_of, declare, foreign, in_queue, letter, put, rows, store
from .marks import both_databases

pytestmark = both_databases

HOUR_MS = 3_600_000


@pytest.fixture(autouse=True)
def _bill(handlers: Registry) -> None:
    Failing("bill")


@pytest.fixture
def three() -> list[int]:
    """The ids of three that wait, of two handlers."""
    now = now_ms()
    return [
        *store(letter("a", failed_at_ms=now - HOUR_MS - 1_000, attempts=4)),
        *store(letter("b", error_type="KeyError", error_message="")),
        *store(letter("c", routing_key="order.paid"), handler="mail"),
    ]


def hide(routing_key: str, data: Any) -> Any:
    return dict.fromkeys(data, "(hidden)")


def lines(*arguments: str) -> list[str]:
    return replay(*arguments).splitlines()


def objects(*arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(*arguments, "--json")]


class TestList:
    def test_a_line_each(self, three: list[int]) -> None:
        a, b, c = three

        assert lines("--list")[0] == (
            f"{a}  1 h ago  bill  order.placed after 4 attempt(s): shop.errors.Bad (error): not yet"
        )
        assert [line.split()[0] for line in lines("--list")] == [str(a), str(b), str(c)]
        assert lines("--list")[1].endswith(": KeyError (error)")

    def test_nothing_is_changed(self, three: list[int]) -> None:
        before = list(DeadLetter.objects.order_by("pk").values())
        for arguments in (["--list"], ["--group"], ["--dry-run"], ["--list", "--json"]):
            replay(*arguments)

        assert list(DeadLetter.objects.order_by("pk").values()) == before

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["bill"], "ab"),
            (["mail"], "c"),
            (["--error", "KeyError"], "b"),
            (["--error", "shop.errors.Bad"], "ac"),
            (["--text", "NOT"], "ac"),
            (["--routing-key", "*.placed"], "ab"),
            (["--older-than", "30min"], "a"),
            (["--newer-than", "30min"], "bc"),
            (["--older-than", "1800"], "a"),
            (["--newer-than", "0.5h"], "bc"),
            (["--newer-than", "2h", "--limit", "2"], "ab"),
            (["--id", "a", "--id", "c"], "ac"),
            (["bill", "--error", "Bad", "--newer-than", "1d"], "a"),
        ],
        ids=str,
    )
    def test_those_chosen(self, three: list[int], arguments: list[str], expected: str) -> None:
        assert [told["event_id"] for told in objects("--list", *arguments)] == list(expected)

    def test_fifty_and_how_to_go_on(self) -> None:
        ids = store(*(letter(str(number)) for number in range(120)))
        first = lines("--list")
        second = lines("--list", "--after", str(ids[49]))
        third = lines("--list", "--after", str(ids[99]), "bill")

        assert [len(first), len(second), len(third)] == [51, 51, 20]
        assert first[-1] == f"70 more: --after {ids[49]}"
        assert second[-1] == f"20 more: --after {ids[99]}"
        listed = [line.split()[0] for line in [*first[:-1], *second[:-1], *third]]
        assert listed == list(map(str, ids))

    def test_another_number(self, three: list[int]) -> None:
        assert lines("--list", "--limit", "2")[-1] == f"1 more: --after {three[1]}"
        assert len(lines("--list", "--limit", "100")) == 3

    def test_as_json(self, three: list[int]) -> None:
        told = objects("--list", "bill")[0]

        assert told["id"] == three[0]
        assert (told["event_id"], told["handler"], told["attempts"]) == ("a", "bill", 4)
        assert (told["error_type"], told["error_message"]) == ("shop.errors.Bad", "not yet")
        assert told["traceback"].startswith("Traceback")
        assert told["data"] == {"number": 1}
        assert not {"body", "body_base64", "properties"} & told.keys()

    def test_json_has_no_line_that_is_none(self) -> None:
        store(*(letter(str(number)) for number in range(60)))

        assert len(objects("--list")) == 50

    def test_payloads_as_the_project_redacts_them(
        self, broker: str, settings: Settings, three: list[int]
    ) -> None:
        settings.DOMAIN_EVENT_BROKER = {"URL": broker, "REDACT_PAYLOAD": hide}

        assert [told["data"] for told in objects("--list")] == [{"number": "(hidden)"}] * 3

    def test_what_cannot_be_read(self) -> None:
        store(foreign("a", body=b"\xff"), foreign("b", body=body_of("b", data=["\x1b"])))

        told = objects("--list")
        assert told[0]["data"].startswith("(the body is not UTF-8")
        assert told[1]["data"] == ["\x1b"]
        assert len(lines("--list")) == 2

    def test_silently(self, three: list[int]) -> None:
        assert replay("--list", verbosity=0) == ""


class TestGroup:
    def test_a_line_for_each_kind(self) -> None:
        first, *_ = store(letter("a"), letter("b"), letter("c", error_type="KeyError"))

        told = lines("--group")
        assert told[0].startswith("2  bill  shop.errors.Bad (error) at shop/orders.py:12 in bill")
        assert told[0].endswith(f"such as {first})")
        assert told[1].startswith("1  bill  KeyError (error)")

    def test_those_chosen(self, three: list[int]) -> None:
        assert len(lines("--group", "--error", "Bad")) == 2
        assert len(lines("--group", "--limit", "1")) == 1

    def test_as_json(self, three: list[int]) -> None:
        (told,) = objects("--group", "--error", "KeyError")

        assert (told["handler"], told["count"], told["example"]) == ("bill", 1, three[1])
        assert told["error_place"] == "shop/orders.py:12 in bill"


class TestDryRun:
    def test_how_many(self, three: list[int]) -> None:
        assert lines("--dry-run") == ["3 would be replayed."]
        assert lines("--dry-run", "bill", "--limit", "1") == ["1 would be replayed."]
        assert objects("--dry-run", "--error", "Bad") == [{"would_be_replayed": 2}]
        assert {row.state for row in rows()} == {"waiting"}

    def test_those_in_the_queue_count(self, three: list[int]) -> None:
        declare()
        put(letter("d"))

        assert lines("--dry-run") == ["4 would be replayed."]
        assert in_queue() == 0
