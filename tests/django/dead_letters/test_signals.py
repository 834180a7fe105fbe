"""`event_replayed`: who had what handled again."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from domain_event_broker.django import conf, dead_letters
from domain_event_broker.django.dead_letters import Selection
from domain_event_broker.django.models import DeadLetter
from domain_event_broker.django.signals import event_replayed
from tests.django.marks import both_databases

from .letters import delivered, letter, states, store

pytestmark = both_databases

Told = list[dict[str, Any]]


def replay(**selection: Any) -> int:
    return dead_letters.replay(Selection(**selection), conf.required(), "ada@desk").count


def test_names_and_fields(bill: str, replayed: Told) -> None:
    store(letter("a", routing_key="order.paid"))
    replay()

    (told,) = replayed
    assert told == {
        "signal": event_replayed,
        "sender": DeadLetter,
        "handler": "bill",
        "event_id": "a",
        "routing_key": "order.paid",
        "by": "ada@desk",
    }


def test_each_is_told_once(bill: str, replayed: Told) -> None:
    store(letter("a"), letter("b"), letter("c", error_type="KeyError"))
    replay(error="Bad")
    replay(error="Bad")

    assert [told["event_id"] for told in replayed] == ["a", "b"]


def test_nothing_is_told_of_what_is_rolled_back(bill: str, replayed: Told) -> None:
    store(letter("a"))
    with transaction.atomic():
        replay()
        transaction.set_rollback(True)

    assert replayed == []


def test_nor_before_the_commit(bill: str, replayed: Told) -> None:
    store(letter("a"))
    with transaction.atomic():
        replay()
        assert replayed == []

    assert len(replayed) == 1


def test_nor_of_what_is_discarded_or_purged(bill: str, replayed: Told) -> None:
    store(letter("a"), letter("b"))
    dead_letters.discard(Selection(event_ids=["a"]), "ada")
    dead_letters.purge(Selection())

    assert replayed == []


def test_a_receiver_that_raises_disturbs_nobody(
    bill: str, replayed: Told, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(**kwargs: Any) -> None:
        raise RuntimeError("the pager is away")

    event_replayed.connect(fail)
    try:
        store(letter("a"), letter("b"))
        assert replay() == 2
    finally:
        event_replayed.disconnect(fail)

    assert states() == {"a": "replayed", "b": "replayed"}
    assert len(delivered(count=2)) == len(replayed) == 2
    assert "the pager is away" in caplog.text
