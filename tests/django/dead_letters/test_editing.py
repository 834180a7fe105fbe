"""Mending a dead letter before it is replayed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from domain_event_broker.django import conf, dead_letters
from domain_event_broker.django.dead_letters import Selection
from domain_event_broker.django.dead_letters.editing import edit
from domain_event_broker.encoding import decode
from domain_event_broker.errors import (
    DomainEventBrokerError,
    EventTooLarge,
    InvalidEvent,
    UnreadableEvent,
)
from tests.django.marks import both_databases

from .letters import body_of, delivered, foreign, letter, only_row, store

pytestmark = both_databases


def edit_only(body: bytes | str, **settings: Any) -> None:
    text = body if isinstance(body, str) else body.decode()
    edit(only_row(), text, replace(conf.required(), **settings))


def test_the_event_is_handled_with_other_data(bill: str) -> None:
    store(letter("a"))
    edit_only(body_of("a", data={"number": 2, "name": "é"}))
    dead_letters.replay(Selection(), conf.required(), "ada")

    (message,) = delivered()
    event = decode(message)
    assert (event.uuid_string, event.data) == ("a", {"number": 2, "name": "é"})


def test_it_waits_on() -> None:
    store(letter("a"))
    row = only_row()
    edit(row, body_of("a", data={"number": 2}).decode(), conf.required())

    assert only_row().state == "waiting"
    assert bytes(only_row().body) == bytes(row.body)
    assert json.loads(bytes(row.body))["data"] == {"number": 2}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("", UnreadableEvent),
        ("{", UnreadableEvent),
        ("[]", UnreadableEvent),
        ('{"uuid_string": "a", "data": NaN}', UnreadableEvent),
        ("\ud800", UnreadableEvent),
        (body_of("b"), InvalidEvent),
        ("{}", InvalidEvent),
        (body_of("a", data={"x": "y" * 5_000}), EventTooLarge),
    ],
    ids=["nothing", "half", "list", "NaN", "surrogate", "id", "no id", "size"],
)
def test_what_is_no_such_event_changes_nothing(
    body: bytes | str, error: type[DomainEventBrokerError]
) -> None:
    store(letter("a"))
    before = bytes(only_row().body)
    with pytest.raises(error):
        edit_only(body, max_event_bytes=4_096)

    assert bytes(only_row().body) == before


def test_one_that_somebody_has_decided_on_stays_as_it_is() -> None:
    store(letter("a"))
    row = only_row()
    before = bytes(row.body)
    dead_letters.discard(Selection(), "eve")
    with pytest.raises(InvalidEvent, match="Somebody else"):
        edit(row, body_of("a", data={"number": 2}).decode(), conf.required())

    assert bytes(only_row().body) == bytes(row.body) == before


class TestWithoutAnIdOfItsMessage:
    """Some programs name the event in the body only."""

    def test_that_of_the_body_stays(self) -> None:
        store(foreign("", body=body_of("a")))
        edit_only(body_of("a", data={"number": 2}))

        assert json.loads(bytes(only_row().body))["data"] == {"number": 2}
        with pytest.raises(InvalidEvent, match="uuid_string must stay"):
            edit_only(body_of("b"))

    def test_an_unreadable_one_gets_any(self) -> None:
        store(foreign("", body=b"\xff"))
        edit_only(body_of("a"))

        assert json.loads(bytes(only_row().body))["uuid_string"] == "a"
