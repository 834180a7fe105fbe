"""`DomainEvent` as 3.x has it, and what it accepts beyond that."""

from __future__ import annotations

import json
import time

import pytest

from domain_event_broker import DomainEvent

FIELDS = {
    "routing_key": "user.registered",
    "data": {"user_id": 1},
    "domain_object_id": "42",
    "uuid_string": "c4b7b8e2-0000-4000-8000-000000000000",
    "timestamp": 1795236128.076064,
}


def test_arguments_may_be_given_by_position() -> None:
    event = DomainEvent("user.registered", {"user_id": 1}, "42", "an-id", 1.5, 3)
    assert event.event_data == {
        "routing_key": "user.registered",
        "data": {"user_id": 1},
        "domain_object_id": "42",
        "uuid_string": "an-id",
        "timestamp": 1.5,
    }
    assert event.retries == 3


def test_everything_has_a_default() -> None:
    before = time.time()
    event = DomainEvent()
    assert (event.routing_key, event.data, event.domain_object_id) == ("", {}, None)
    assert before <= event.timestamp <= time.time()
    assert len(event.uuid_string) == 36
    assert event.uuid_string != DomainEvent().uuid_string


def test_events_without_data_do_not_share_it() -> None:
    DomainEvent().data["mine"] = True
    assert DomainEvent().data == {}


@pytest.mark.parametrize("encoding", [str, str.encode])
def test_json_is_read_as_text_and_as_bytes(encoding: type[str]) -> None:
    event = DomainEvent.from_json(encoding(json.dumps(FIELDS)))
    assert event.event_data == FIELDS
    assert event.retries == 0


def test_equality_is_that_of_the_fields_without_the_retries() -> None:
    event = DomainEvent(**FIELDS)  # type: ignore[arg-type]
    assert event == DomainEvent(**FIELDS, retries=2)  # type: ignore[arg-type]
    for name in FIELDS:
        other = {**FIELDS, name: "another" if name != "timestamp" else 0.0}
        assert event != DomainEvent(**other)  # type: ignore[arg-type]
    assert event != FIELDS


def test_unknown_keywords_and_keys_are_ignored() -> None:
    expected = DomainEvent(**FIELDS)  # type: ignore[arg-type]
    assert DomainEvent(**FIELDS, trace="x") == expected  # type: ignore[arg-type]
    assert DomainEvent.from_json(json.dumps({**FIELDS, "trace": "x"})) == expected


def test_missing_keys_get_their_defaults() -> None:
    event = DomainEvent.from_json('{"routing_key": "user.registered"}')
    assert (event.data, event.domain_object_id) == ({}, None)
    assert event.uuid_string


def test_its_text_shows_its_data() -> None:
    assert "user_id" in str(DomainEvent("user.registered", {"user_id": 1}))
