"""Failures of a kind."""

from __future__ import annotations

from domain_event_broker.django import dead_letters
from domain_event_broker.django.dead_letters import Group, Selection
from domain_event_broker.django.models import DeadLetter
from domain_event_broker.handling import now_ms
from tests.django.marks import both_databases

from .letters import foreign, letter, store

pytestmark = both_databases


def groups(**selection: object) -> list[Group]:
    return dead_letters.groups(Selection(**selection))  # type: ignore[arg-type]


def test_none() -> None:
    assert groups() == []


def test_the_most_frequent_first() -> None:
    now = now_ms()
    first, *_ = store(
        letter("a", error_type="KeyError", failed_at_ms=now - 60_000),
        letter("b"),
        letter("c", error_type="KeyError", failed_at_ms=now - 90_000, error_message="another"),
        letter("d", error_type="KeyError", failed_at_ms=now, routing_key="order.paid"),
    )
    found = groups()

    assert [(each.count, each.error_type) for each in found] == [
        (3, "KeyError"),
        (1, "shop.errors.Bad"),
    ]
    often = found[0]
    assert (often.handler, often.reason) == ("bill", "error")
    assert often.error_place == "shop/orders.py:12 in bill"
    assert often.example == first
    assert (often.last_failed_at - often.first_failed_at).total_seconds() == 90


def test_another_handler_reason_error_or_place_is_another_kind() -> None:
    store(
        letter("a"),
        letter("b", reason="retries-exhausted"),
        letter("c", error_type="KeyError"),
        letter("d", error_place="elsewhere.py:1 in pay"),
        foreign("e"),
    )
    store(letter("f"), handler="mail")

    assert [each.count for each in groups()] == [1] * 6


def test_only_what_waits_and_is_selected() -> None:
    store(letter("a"), letter("b"), letter("c", error_type="KeyError"))
    store(letter("d"), handler="mail")
    DeadLetter.objects.filter(event_id="a").settle("discarded", "somebody")

    (group,) = groups(handlers=["bill"], error="Bad")
    assert group.count == 1


def test_a_limit_counts_kinds() -> None:
    store(letter("a"), letter("b"), letter("c", error_type="KeyError"))

    assert [each.count for each in groups(limit=1)] == [2]
