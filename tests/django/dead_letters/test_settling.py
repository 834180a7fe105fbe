"""Deciding against dead letters: discard, and purge."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from domain_event_broker.django import conf, dead_letters
from domain_event_broker.django.dead_letters import Decided, Selection
from domain_event_broker.django.models import DeadLetter
from tests.django.marks import both_databases
from tests.support.threads import at_once

from .letters import collect, letter, only_row, put, rows, states, store, waiting

pytestmark = both_databases


def discard(by: str = "ada@desk", **selection: Any) -> int:
    return dead_letters.discard(Selection(**selection), by).count


def purge(**selection: Any) -> int:
    return dead_letters.purge(Selection(**selection)).count


class TestDiscarding:
    def test_the_row_stays_and_tells_who_did_it(self) -> None:
        store(letter("a"))

        assert dead_letters.discard(Selection(), "ada@desk") == Decided(count=1)
        row = only_row()
        assert (row.state, row.settled_by) == ("discarded", "ada@desk")
        assert row.settled_at is not None

    def test_only_what_is_selected_and_waits(self) -> None:
        store(letter("a", error_type="KeyError"), letter("b"), letter("c"))
        assert discard(event_ids=["c"], by="eve") == 1

        assert discard(error="Bad") == 1
        assert states() == {"a": "waiting", "b": "discarded", "c": "discarded"}
        assert [row.settled_by for row in rows()] == ["", "ada@desk", "eve"]

    def test_the_oldest_so_many(self) -> None:
        store(*(letter(str(number)) for number in range(5)))

        assert discard(limit=3) == 3
        assert waiting() == ["3", "4"]

    def test_a_name_may_be_of_any_length(self) -> None:
        store(letter("a"))
        discard(by="\0" * 300)

        assert only_row().settled_by.startswith("\\0\\0")

    def test_it_does_not_come_back(self, bill: str) -> None:
        put(letter("a"))
        collect()
        discard()

        assert dead_letters.replay(Selection(), conf.required(), "ada") == Decided()
        assert states() == {"a": "discarded"}

    def test_it_is_undone_with_the_transaction(self) -> None:
        store(letter("a"))
        with transaction.atomic():
            discard()
            transaction.set_rollback(True)

        assert waiting() == ["a"]


class TestPurging:
    def test_rows_go(self) -> None:
        store(letter("a"), letter("b", error_type="KeyError"))

        assert purge(error="KeyError") == 1
        assert states() == {"a": "waiting"}

    def test_those_settled_stay_for_the_record(self) -> None:
        store(letter("a"), letter("b"))
        discard(event_ids=["a"])

        assert purge() == 1
        assert states() == {"a": "discarded"}


@pytest.mark.parametrize("decide", [discard, purge])
class TestBoth:
    def test_several_batches(self, decide: Any) -> None:
        store(*(letter(str(number)) for number in range(1_001)))

        assert decide() == 1_001
        assert not DeadLetter.objects.waiting().exists()

    def test_at_once_each_is_one_s(self, decide: Any) -> None:
        store(*(letter(str(number)) for number in range(90)))

        assert sum(at_once(decide, decide, decide)) == 90


def test_progress_and_breaking_off() -> None:
    store(*(letter(str(number)) for number in range(600)))
    steps: list[tuple[int, int]] = []
    decided = dead_letters.discard(
        Selection(), "ada", lambda done, total: steps.append((done, total)), lambda: bool(steps)
    )

    assert (decided.count, steps) == (500, [(500, 600)])
