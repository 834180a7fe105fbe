"""Which dead letters a selection means."""

from __future__ import annotations

from typing import Any

import pytest

from domain_event_broker.django import dead_letters
from domain_event_broker.django.dead_letters import Selection
from domain_event_broker.django.models import DeadLetter
from domain_event_broker.handling import now_ms
from tests.django.marks import both_databases

from .letters import letter, rows, store, waiting

pytestmark = both_databases

HOUR_MS = 3_600_000


@pytest.fixture(autouse=True)
def _letters() -> None:
    """Six that wait, and two that do not."""
    now = now_ms()
    store(
        letter("a", error_type="shop.errors.Bad", error_message="No Lamp left"),
        letter("b", routing_key="order.paid", failed_at_ms=now - HOUR_MS),
        letter("c", routing_key="order", error_type="KeyError", failed_at_ms=now - 2 * HOUR_MS),
        letter("d", routing_key="order.eu.placed", error_type="bank.Bad", error_message="50% off"),
        letter("replayed"),
        letter("discarded"),
    )
    store(letter("a", error_type="shop.NotBad"), letter("e"), handler="mail")
    DeadLetter.objects.filter(event_id="replayed").settle("replayed", "somebody")
    DeadLetter.objects.filter(event_id="discarded").settle("discarded", "somebody")


def ids_of(*event_ids: str) -> list[int]:
    return [row.pk for row in rows() if row.event_id in event_ids]


EVERYTHING = ["a", "b", "c", "d", "a", "e"]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({}, EVERYTHING),
        ({"handlers": ["bill"]}, ["a", "b", "c", "d"]),
        ({"handlers": ["mail", "bill"]}, EVERYTHING),
        ({"handlers": ["nobody"]}, []),
        ({"event_ids": ["a"]}, ["a", "a"]),
        ({"event_ids": ["b", "e", "none"]}, ["b", "e"]),
        ({"routing_key": "order.*"}, ["a", "b", "a", "e"]),
        ({"routing_key": "order.#"}, EVERYTHING),
        ({"routing_key": "#.placed"}, ["a", "d", "a", "e"]),
        ({"routing_key": "order"}, ["c"]),
        ({"routing_key": "user.*"}, []),
        ({"error": "shop.errors.Bad"}, ["a", "b", "e"]),
        ({"error": "Bad"}, ["a", "b", "d", "e"]),
        ({"error": "KeyError"}, ["c"]),
        ({"error": "errors"}, []),
        ({"text": "lamp"}, ["a"]),
        ({"text": "NOT YET"}, ["b", "c", "a", "e"]),
        ({"text": "50% o"}, ["d"]),
        ({"text": "5_%"}, []),
        ({"text": ""}, EVERYTHING),
        ({"older_than_seconds": 1_800}, ["b", "c"]),
        ({"newer_than_seconds": 1_800}, ["a", "d", "a", "e"]),
        ({"older_than_seconds": 1_800, "newer_than_seconds": 5_400}, ["b"]),
        ({"older_than_seconds": 0}, EVERYTHING),
        ({"newer_than_seconds": 0}, []),
        ({"handlers": ["bill"], "error": "Bad", "routing_key": "order.*"}, ["a", "b"]),
        ({"handlers": ["mail"], "event_ids": ["a", "b"]}, ["a"]),
        ({"error": "Bad", "text": "not yet", "newer_than_seconds": 1_800}, ["e"]),
    ],
    ids=str,
)
def test_what_waits_and_meets_all_criteria(selection: dict[str, Any], expected: list[str]) -> None:
    assert waiting(**selection) == expected
    assert dead_letters.count(Selection(**selection)) == len(expected)


def test_by_their_own_ids() -> None:
    assert waiting(ids=ids_of("b", "d")) == ["b", "d"]
    assert waiting(ids=ids_of("b"), event_ids=["e"]) == ["b", "e"]
    assert waiting(ids=[2**62]) == []


def test_those_settled_are_in_no_selection() -> None:
    assert waiting(event_ids=["replayed", "discarded"]) == []
    assert waiting(ids=ids_of("replayed", "discarded")) == []


def test_behind_one_with_an_id() -> None:
    (b,) = ids_of("b")

    assert waiting(after=b) == ["c", "d", "a", "e"]
    assert waiting(after=b, handlers=["bill"]) == ["c", "d"]
    assert waiting(after=2**62) == []


def test_a_limit_counts_and_is_left_to_the_caller() -> None:
    assert dead_letters.count(Selection(limit=2)) == 2
    assert dead_letters.count(Selection(limit=100)) == 6
    assert waiting(limit=2) == EVERYTHING


def test_looking_changes_nothing() -> None:
    before = list(DeadLetter.objects.order_by("pk").values())
    waiting(routing_key="#", text="x")
    dead_letters.groups(Selection())

    assert list(DeadLetter.objects.order_by("pk").values()) == before
