"""Dead letters as text: what is told, what is hidden, and on how many lines."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pytest_django import Settings

from domain_event_broker.django import conf, dead_letters
from domain_event_broker.django.dead_letters import Selection, showing
from domain_event_broker.handling import now_ms
from domain_event_broker.messages import Message
from tests.django.marks import both_databases

from .letters import body_of, foreign, letter, only_row, store

pytestmark = both_databases

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


def line_of(message: Message) -> str:
    store(message)
    return showing.line(only_row())


def in_full(message: Message, **settings: Any) -> list[str]:
    store(message)
    return list(showing.in_full(only_row(), replace(conf.required(), **settings)))


def hide(routing_key: str, data: Any) -> Any:
    data["card"] = f"(hidden on {routing_key})"
    return data


class TestLine:
    def test_what_failed(self) -> None:
        told = line_of(letter("a", attempts=4, failed_at_ms=now_ms() - 2 * HOUR - 1_000))

        assert told == (
            f"{only_row().pk}  2 h ago  bill  order.placed after 4 attempt(s): "
            "shop.errors.Bad (error): not yet"
        )

    def test_of_another_program(self) -> None:
        told = line_of(foreign("a"))

        assert told.endswith("  bill  order.placed: ?")

    @pytest.mark.parametrize(
        ("reason", "error_type", "told"),
        [
            ("crashed", "", "crashed"),
            ("", "KeyError", "KeyError"),
            ("gave-up", "KeyError", "KeyError (gave-up)"),
        ],
    )
    def test_reason_and_error_as_far_as_known(
        self, reason: str, error_type: str, told: str
    ) -> None:
        assert showing.failure(reason, error_type) == told

    def test_it_is_one_and_not_too_long(self) -> None:
        told = line_of(letter("a", error_message="one\ntwo\r\n" + "x" * 1_000))

        assert "one two xxx" in told
        assert len(told) == 160
        assert told.endswith("...")
        assert told.isprintable()

    def test_it_rules_no_terminal(self) -> None:
        told = line_of(letter("a", error_message="\x1b[2J\x9b31m\x07", error_type="\x1b]0;x"))

        assert told.isprintable()


class TestGroupLine:
    def test_how_many_of_what(self) -> None:
        now = now_ms()
        first, _ = store(
            letter("a", failed_at_ms=now - 3 * DAY - 1_000),
            letter("b", failed_at_ms=now - 5 * MINUTE - 1_000),
        )
        (group,) = dead_letters.groups(Selection())

        assert showing.group_line(group) == (
            "2  bill  shop.errors.Bad (error) at shop/orders.py:12 in bill  "
            f"(from 3 d to 5 min ago, such as {first})"
        )

    def test_without_a_place(self) -> None:
        store(foreign("a"))
        (group,) = dead_letters.groups(Selection())

        assert showing.group_line(group).startswith("1  bill  ?  (from ")


class TestAge:
    @pytest.mark.parametrize(
        ("milliseconds", "told"),
        [
            (90_500, "2 min"),
            (59 * MINUTE, "59 min"),
            (HOUR, "1 h"),
            (23 * HOUR, "23 h"),
            (49 * HOUR, "2 d"),
            (-HOUR, "0 s"),
        ],
    )
    def test_in_the_largest_unit(self, milliseconds: int, told: str) -> None:
        store(letter("a", failed_at_ms=now_ms() - milliseconds))

        assert showing.age(only_row().failed_at) == told

    @pytest.mark.parametrize("use_tz", [True, False])
    def test_with_and_without_time_zones(self, use_tz: bool, settings: Settings) -> None:
        settings.USE_TZ = use_tz
        settings.TIME_ZONE = "America/New_York"
        store(letter("a", failed_at_ms=now_ms() - 3 * DAY - 1_000))

        row = only_row()
        assert (row.failed_at.tzinfo is not None) is use_tz
        assert showing.age(row.failed_at) == "3 d"
        assert showing.age(row.failed_at + timedelta(days=1)) == "2 d"


class TestInFull:
    def test_all_that_is_known(self) -> None:
        # Its age is told twice; it should not change meanwhile.
        failed_ms = now_ms() - 2 * HOUR - 60_000
        first_ms = failed_ms - HOUR
        told = in_full(
            letter("a", app_version="v7", failed_at_ms=failed_ms, first_failed_at_ms=first_ms)
        )

        assert told[0] == showing.line(only_row())
        assert "  event       a" in told
        assert "  raised at   shop/orders.py:12 in bill" in told
        assert "  by          process 7 on web-1 v7" in told
        assert '  payload     {"number": 1}' in told
        assert told[-3:] == ["  Traceback", "    in bill", "  shop.errors.Bad: not yet"]

    def test_of_another_program(self) -> None:
        told = in_full(foreign("a"))

        assert len(told) == 4
        assert told[2].endswith("(first: not known)")

    def test_it_rules_no_terminal(self) -> None:
        evil = "\x1b[2J\x9b"
        told = in_full(
            letter(
                evil,
                error_place=evil,
                host=evil,
                error_traceback=f"one{evil}\n{evil}two\x85three",
                body=evil,
            ),
        )

        assert all(line.isprintable() for line in told)
        assert told[-3].startswith("  one")

    def test_payloads_too(self) -> None:
        told = in_full(foreign("a", body=body_of("a", data={"x": "\x9b31m"})))

        assert all(line.isprintable() for line in told)


class TestPayload:
    def test_as_the_project_redacts_it(self) -> None:
        told = in_full(foreign("a", body=body_of("a", data={"card": "1234"})), redact_payload=hide)

        assert told[-1] == '  payload     {"card": "(hidden on order.placed)"}'
        assert "1234" not in "".join(told)

    def test_what_cannot_be_redacted_is_not_shown(self) -> None:
        told = in_full(foreign("a", body=body_of("a", data=["1234"])), redact_payload=hide)

        assert "(REDACT_PAYLOAD failed: TypeError)" in told[-1]
        assert "1234" not in "".join(told)

    @pytest.mark.parametrize("body", [b"\xff", b"[1234]", b"{", b'{"data": 1234e999}'])
    def test_what_cannot_be_read_is_not_shown(self, body: bytes) -> None:
        told = in_full(foreign("a", body=body), redact_payload=hide)

        assert told[-1].startswith("  payload     (the body ")
        assert "1234" not in "".join(told)

    def test_what_nobody_can_write_down_is_not_shown(self) -> None:
        def strange(routing_key: str, data: Any) -> Any:
            return {("a", "b"): 1}

        told = in_full(foreign("a"), redact_payload=strange)

        assert told[-1] == "  payload     (it cannot be shown: TypeError)"

    def test_without_data(self) -> None:
        assert in_full(foreign("a", body=b"{}"))[-1] == "  payload     {}"

    def test_without_settings(self) -> None:
        store(foreign("a"))

        assert showing.payload(only_row(), None) == '{"number": 1}'
