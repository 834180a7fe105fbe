"""`DomainEvent` as an object: its fields, equality and repr."""

import time
from typing import Any
from uuid import RFC_4122, UUID

import pytest

from domain_event_broker import DomainEvent
from domain_event_broker.events import new_uuid_string

FIELDS: dict[str, Any] = {
    "routing_key": "user.registered",
    "data": {"user_id": 1},
    "domain_object_id": "42",
    "uuid_string": "c4b7b8e2-0000-4000-8000-000000000000",
    "timestamp": 1795236128.076064,
}


def test_the_arguments_are_in_the_order_of_3_x() -> None:
    event = DomainEvent("user.registered", {"user_id": 1}, "42", "the-id", 1.5, 3)

    assert event.routing_key == "user.registered"
    assert event.data == {"user_id": 1}
    assert event.domain_object_id == "42"
    assert event.uuid_string == "the-id"
    assert event.timestamp == 1.5
    assert event.retries == 3


def test_everything_has_a_default() -> None:
    before = time.time()
    event = DomainEvent()
    after = time.time()

    assert event.routing_key == ""
    assert event.data == {}
    assert event.domain_object_id is None
    assert str(UUID(event.uuid_string)) == event.uuid_string
    assert before <= event.timestamp <= after
    assert event.retries == 0


@pytest.mark.parametrize("retries", [0, 1, 7])
def test_the_attempt_is_one_more_than_the_retries(retries: int) -> None:
    event = DomainEvent(**FIELDS, retries=retries)

    assert event.attempt == retries + 1
    assert "attempt" not in event.event_data
    with pytest.raises(AttributeError):
        event.attempt = 3  # type: ignore[misc]


def test_two_events_share_neither_id_nor_default_data() -> None:
    one, other = DomainEvent(), DomainEvent()
    one.data["changed"] = True

    assert one.uuid_string != other.uuid_string
    assert other.data == {}


@pytest.mark.parametrize("data", [None, [], "", 0, [1, {"a": None}]])
def test_data_may_be_any_value(data: object) -> None:
    assert DomainEvent(data=data).data == data


def test_a_timestamp_of_zero_is_kept() -> None:
    assert DomainEvent(timestamp=0).timestamp == 0


def test_unknown_keywords_are_ignored() -> None:
    event = DomainEvent("user.registered", {"user_id": 1}, schema_version=2, tenant="x")

    assert not hasattr(event, "schema_version")
    assert "tenant" not in event.event_data


def test_event_data_holds_the_five_fields_and_nothing_else() -> None:
    event = DomainEvent(**FIELDS, retries=2)

    assert event.event_data == FIELDS


def test_event_data_follows_an_assignment() -> None:
    event = DomainEvent(**FIELDS)
    event.data = {"user_id": 2}

    assert event.event_data["data"] == {"user_id": 2}


def test_events_with_the_same_fields_are_equal() -> None:
    assert DomainEvent(**FIELDS) == DomainEvent(**FIELDS)


def test_retries_do_not_count_for_equality() -> None:
    assert DomainEvent(**FIELDS, retries=1) == DomainEvent(**FIELDS, retries=2)


@pytest.mark.parametrize("name", FIELDS)
def test_events_that_differ_in_one_field_differ(name: str) -> None:
    other = DomainEvent(**FIELDS)
    setattr(other, name, "another")

    assert DomainEvent(**FIELDS) != other


def test_an_event_equals_nothing_of_another_type() -> None:
    assert DomainEvent(**FIELDS) != FIELDS
    assert DomainEvent(**FIELDS) != "user.registered"


def test_an_event_has_no_hash() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(DomainEvent())


@pytest.mark.parametrize("show", [str, repr])
def test_the_text_of_an_event_shows_its_data(show: type[str]) -> None:
    text = show(DomainEvent(**FIELDS))

    assert "user.registered" in text
    assert "{'user_id': 1}" in text
    assert "'42'" in text
    assert FIELDS["uuid_string"] in text


def test_a_new_id_is_a_random_uuid() -> None:
    ids = {new_uuid_string() for _ in range(1_000)}
    assert len(ids) == 1_000
    for text in ids:
        identity = UUID(text)
        assert (identity.version, identity.variant, str(identity)) == (4, RFC_4122, text)
