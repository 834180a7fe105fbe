"""Claiming rows of the outbox, and what their holder may do that nobody else may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from django.db.models.signals import pre_delete

from domain_event_broker.django.models import OutboxEvent
from domain_event_broker.django.querysets import OutboxQuerySet
from domain_event_broker.django.sending import outbox

from .rows import DEFAULT, ENDED, LONG, names_of, only_row, put, there

pytestmark = pytest.mark.django_db

MINE, THEIRS = "my token", "their token"

Step = Callable[[OutboxQuerySet], int]
STEPS: dict[str, Step] = {
    "renew": lambda rows: rows.renew(LONG),
    "give back": lambda rows: rows.give_back(),
    "settle": lambda rows: rows.settle(),
    "postpone": lambda rows: rows.postpone(LONG, "an error"),
    "park": lambda rows: rows.park("an error"),
}
each_step = pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)


def claim(limit: int = 100, token: str = MINE, lease_seconds: float = LONG) -> list[str | None]:
    return names_of(outbox(DEFAULT).claim(limit, token, lease_seconds))


def held(*ids: int, token: str = MINE) -> OutboxQuerySet:
    return outbox(DEFAULT).held_by(token, ids)


def state() -> list[dict[str, Any]]:
    return list(outbox(DEFAULT).order_by("pk").values())


class TestClaiming:
    def test_there_may_be_nothing(self) -> None:
        assert claim() == []

    def test_no_more_than_asked_for(self) -> None:
        put("a", "b", "c")

        assert claim(2) == ["a", "b"]
        assert claim(2) == ["c"]
        assert claim(2) == []

    def test_the_longest_due_come_first_and_are_told_by_id(self) -> None:
        put("a", "b", lease_seconds=-10)
        put("c", "d", lease_seconds=-30)
        put("e", lease_seconds=-20)

        assert claim(3) == ["c", "d", "e"]
        assert claim(3) == ["a", "b"]

    def test_what_is_leased_is_left_alone(self) -> None:
        put("theirs", token=THEIRS, lease_seconds=LONG)
        put("due")

        assert claim() == ["due"]

    def test_what_was_leased_is_claimed_when_that_ends(self) -> None:
        put("a")
        assert claim(token=THEIRS, lease_seconds=ENDED) == ["a"]

        assert claim() == ["a"]
        assert only_row().lease_token == MINE

    def test_even_by_the_same_holder(self) -> None:
        put("a")

        assert claim(lease_seconds=ENDED) == claim() == ["a"]

    def test_it_counts_no_attempt(self) -> None:
        put("a")
        (row,) = outbox(DEFAULT).claim(1, MINE, LONG)

        assert row.attempts == only_row().attempts == 0


class TestSteps:
    @each_step
    def test_the_holder_may(self, step: Step) -> None:
        ids = put("a", "b", "c", token=MINE, lease_seconds=LONG)
        before = state()

        assert step(held(*ids[:2])) == 2
        assert state()[-1] == before[-1]
        assert state() != before

    @each_step
    def test_nobody_else_may(self, step: Step) -> None:
        ids = put("a", token=THEIRS, lease_seconds=LONG)
        before = state()

        assert step(held(*ids)) == 0
        assert state() == before

    @each_step
    def test_who_lost_the_lease_to_somebody_may_no_more(self, step: Step) -> None:
        ids = put("a")
        claim(lease_seconds=ENDED)
        claim(token=THEIRS)
        before = state()

        assert step(held(*ids)) == 0
        assert state() == before

    @each_step
    def test_whose_lease_ended_may_while_nobody_else_has_it(self, step: Step) -> None:
        ids = put("a")
        claim(lease_seconds=ENDED)

        assert step(held(*ids)) == 1

    @pytest.mark.parametrize("first", ["give back", "postpone", "park", "settle"])
    @each_step
    def test_who_gave_it_up_may_no_more(self, first: str, step: Step) -> None:
        ids = put("a", token=MINE, lease_seconds=LONG)
        STEPS[first](held(*ids))
        before = state()

        assert step(held(*ids)) == 0
        assert state() == before

    def test_one_may_hold_none_or_thousands(self) -> None:
        names = [f"event {number}" for number in range(3_000)]
        with transaction.atomic():
            ids = put(*names, token=MINE, lease_seconds=LONG)

        assert held().settle() == 0
        assert held(*ids[:-1]).settle() == 2_999
        assert there() == names[-1:]

    def test_a_renewed_lease_lasts(self) -> None:
        ids = put("a", token=MINE, lease_seconds=ENDED)
        held(*ids).renew(LONG)

        assert claim(token=THEIRS) == []

    def test_what_is_settled_is_gone(self) -> None:
        ids = put("a", "b", "c", token=MINE, lease_seconds=LONG)
        held(ids[0], ids[2]).settle()

        assert there() == ["b"]

    def test_settling_heeds_no_signal_of_the_project(self) -> None:
        def refuse(**kwargs: object) -> None:
            raise PermissionError("nothing is deleted here")

        ids = put("a", token=MINE, lease_seconds=LONG)
        pre_delete.connect(refuse, sender=OutboxEvent)
        try:
            assert held(*ids).settle() == 1
        finally:
            pre_delete.disconnect(refuse, sender=OutboxEvent)

    def test_what_is_given_back_is_due_at_once_or_after_the_delay(self) -> None:
        now, later = put("now", "later", token=MINE, lease_seconds=LONG)
        held(now).give_back()
        held(later).give_back(LONG)

        assert claim(token=THEIRS) == ["now"]

    def test_a_postponed_one_has_its_error_and_comes_later(self) -> None:
        ids = put("a", token=MINE, lease_seconds=LONG)
        held(*ids).postpone(LONG, "The broker refused it.")

        row = only_row()
        assert (row.attempts, row.error, row.lease_token) == (1, "The broker refused it.", "")
        assert claim() == []
        outbox(DEFAULT).give_back()
        (again,) = outbox(DEFAULT).claim(1, MINE, LONG)
        assert again.attempts == 1


class TestParked:
    def test_a_parked_one_is_never_due(self) -> None:
        first, _ = put("a", "b", token=MINE, lease_seconds=LONG)
        held(first).park("It is too large.")

        assert [(row.event_id, row.error) for row in outbox(DEFAULT).parked()] == [
            ("a", "It is too large.")
        ]
        assert not outbox(DEFAULT).due().exists()
        assert claim() == []

    def test_until_it_is_unparked(self) -> None:
        first, second = put("a", "b", token=MINE, lease_seconds=LONG)
        for _ in range(3):
            outbox(DEFAULT).filter(pk=first).park("It is too large.")
        before = state()[1]

        assert outbox(DEFAULT).unpark() == 1
        assert not outbox(DEFAULT).parked().exists()
        (row,) = outbox(DEFAULT).claim(5, MINE, LONG)
        assert (row.id, row.attempts) == (first, 0)
        assert state()[1] == before
        assert second == before["id"]


def test_leased_are_those_that_somebody_may_be_sending() -> None:
    put("sending", token=MINE, lease_seconds=LONG)
    put("ended", token=MINE, lease_seconds=ENDED)
    put("given back", "postponed", "parked", token=MINE, lease_seconds=LONG)
    rows = outbox(DEFAULT)
    rows.filter(event_id="given back").give_back(LONG)
    rows.filter(event_id="postponed").postpone(LONG, "")
    rows.filter(event_id="parked").park("")

    assert [row.event_id for row in rows.leased()] == ["sending"]
