"""Dead letters as lines of JSON, out of the table and back."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from pytest_django import Settings

from domain_event_broker.django import conf, dead_letters
from domain_event_broker.django.dead_letters import Selection, UnreadableLine
from domain_event_broker.django.models import DeadLetter
from tests.django.marks import both_databases

from .letters import delivered, foreign, letter, only_row, rows, states, store, waiting

pytestmark = both_databases


def export(**selection: Any) -> str:
    file = StringIO()
    dead_letters.export(Selection(**selection), file)
    return file.getvalue()


def exported(**changes: Any) -> dict[str, Any]:
    """A line, as an object."""
    store(letter("a"))
    told: dict[str, Any] = json.loads(export(event_ids=["a"]))
    DeadLetter.objects.all().delete()
    return {**told, **changes}


def import_lines(*lines: object) -> int:
    texts = [each if isinstance(each, str) else json.dumps(each) for each in lines]
    return dead_letters.import_lines(texts)


def contents() -> list[dict[str, Any]]:
    left_out = {"id", "collected_at"}
    return [
        {key: value for key, value in row.items() if key not in left_out}
        for row in DeadLetter.objects.order_by("pk").values()
    ]


class TestExport:
    def test_a_line_for_each_that_is_selected(self) -> None:
        store(letter("a"), letter("b", error_type="KeyError"), letter("c"))

        lines = export(error="Bad").splitlines()
        assert [json.loads(line)["event_id"] for line in lines] == ["a", "c"]
        assert set(states().values()) == {"waiting"}

    def test_the_oldest_so_many(self) -> None:
        store(letter("a"), letter("b"), letter("c"))
        steps: list[tuple[int, int]] = []
        count = dead_letters.export(
            Selection(limit=2), StringIO(), lambda done, total: steps.append((done, total))
        )

        assert (count, steps) == (2, [(1, 2), (2, 2)])

    def test_an_object_of_columns(self) -> None:
        told = exported()

        assert told["handler"] == "bill"
        assert json.loads(told["body"])["data"] == {"number": 1}
        assert told["failed_at"].endswith("+00:00")
        assert set(told) == {
            "identity",
            "handler",
            "event_id",
            "routing_key",
            "body",
            "properties",
            "reason",
            "error_type",
            "error_message",
            "error_place",
            "traceback",
            "attempts",
            "first_failed_at",
            "failed_at",
            "host",
            "process_id",
            "app_version",
        }

    def test_what_is_no_text_is_in_base64(self) -> None:
        store(foreign("a", body=b"\xff\x00"))

        told = json.loads(export())
        assert told["body_base64"] == "/wA="
        assert "body" not in told

    def test_a_line_is_one_whatever_is_in_it(self) -> None:
        store(letter("a", error_message="one\ntwo\r\u2028three"), foreign("b", body=b"\n\n"))

        assert export().count("\n") == 2


class TestRoundTrip:
    def test_all_is_as_it_was(self) -> None:
        store(
            letter("a", error_message="one\ntwo \u2028 é", tenant={"deep": [b"\xff"]}),
            foreign("b", body=b"\xff\x00"),
            foreign("c", body=b"", routing_key=""),
            foreign("", body="é\0".encode()),
        )
        before = contents()
        file = StringIO()
        dead_letters.export(Selection(), file)
        DeadLetter.objects.all().delete()
        file.seek(0)

        assert dead_letters.import_lines(file) == 4
        assert contents() == before

    def test_what_is_there_stays_as_it_is(self) -> None:
        store(letter("a"), letter("b"), letter("c"))
        lines = export()
        dead_letters.discard(Selection(event_ids=["b"]), "ada")
        DeadLetter.objects.filter(event_id="c").delete()

        assert import_lines(*lines.splitlines()) == 1
        assert states() == {"a": "waiting", "b": "discarded", "c": "waiting"}

    def test_what_was_imported_is_replayed(self, bill: str) -> None:
        store(letter("a", tenant="x"))
        lines = export()
        DeadLetter.objects.all().delete()
        import_lines(lines)
        dead_letters.replay(Selection(), conf.required(), "ada")

        (message,) = delivered()
        assert (message.message_id, message.headers["deb-tenant"]) == ("a", "x")

    def test_many(self) -> None:
        store(*(letter(str(number)) for number in range(1_003)))
        lines = export().splitlines()
        DeadLetter.objects.all().delete()

        assert import_lines(*lines, *lines) == 1_003

    def test_empty_lines_are_nothing(self) -> None:
        assert import_lines("", "  ", "\n") == 0

    def test_into_the_database_of_the_dead_letters(self, alias: str) -> None:
        store(letter("a"))
        lines = export()
        DeadLetter.objects.using(alias).all().delete()
        import_lines(lines)

        assert DeadLetter.objects.using(alias).count() == 1

    def test_into_a_project_without_time_zones(self, settings: Settings) -> None:
        told = exported(failed_at="2026-01-02T03:04:05.678000+02:00")
        settings.USE_TZ = False
        import_lines(told)

        moment = only_row().failed_at
        assert moment.tzinfo is None
        assert (moment.minute, moment.second) == (4, 5)

    def test_out_of_one(self) -> None:
        import_lines(exported(failed_at="2026-01-02T03:04:05", first_failed_at=None))

        assert only_row().failed_at.tzinfo is not None
        assert only_row().first_failed_at is None


NO_COLUMNS: dict[str, Any] = {}
BAD = {
    "no JSON": "{",
    "a list": "[]",
    "a number": "1",
    "nothing in it": NO_COLUMNS,
    "another thing": {"routing_key": "order.placed", "data": {}},
}
BAD_COLUMNS: dict[str, dict[str, Any]] = {
    "no identity": {"identity": ""},
    "no handler": {"handler": ""},
    "no properties": {"properties": ""},
    "properties that nobody reads": {"properties": "{"},
    "properties of another kind": {"properties": '{"headers": {"a": {"$nothing": 1}}}'},
    "unknown properties": {"properties": '{"wings": 2}'},
    "no time": {"failed_at": None},
    "another time": {"failed_at": "yesterday"},
    "an impossible time": {"failed_at": "2026-02-31T00:00:00Z"},
    "a body that is no text": {"body": 5},
    "no base64": {"body_base64": "!"},
    "a NUL": {"error_message": "a\0b"},
    "a lone surrogate": {"handler": "\ud800"},
    "a lone surrogate in the body": {"body": "secret \ud800"},
    "a long name": {"handler": "h" * 256},
    "a word for a number": {"attempts": "many"},
    "too large a number": {"attempts": 2**70},
    "a state": {"state": "replayed"},
    "an id": {"id": 5},
    "another column": {"wings": 2},
}


class TestBadLines:
    def refuse(self, line: object) -> str:
        good = exported()
        with pytest.raises(UnreadableLine, match=r"^Line 2 is no exported dead letter: ") as caught:
            import_lines(good, line)
        assert rows() == []
        assert (caught.value.__cause__, caught.value.__context__) == (None, None)
        return str(caught.value)

    @pytest.mark.parametrize("case", BAD)
    def test_nothing_is_stored(self, case: str) -> None:
        self.refuse(BAD[case])

    @pytest.mark.parametrize("case", BAD_COLUMNS)
    def test_nor_where_a_column_is_wrong(self, case: str) -> None:
        told = self.refuse(exported(**BAD_COLUMNS[case]))

        assert "secret" not in told

    def test_the_first_bad_one_is_named(self) -> None:
        good = exported()
        with pytest.raises(UnreadableLine, match=r"^Line 4 "):
            import_lines(good, "", good, "x", "y")

        assert waiting() == []
