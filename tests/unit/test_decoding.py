"""From a message to its event: what the body says, and what the properties add."""

from typing import Any

import pytest

from domain_event_broker.encoding import decode
from domain_event_broker.messages import Message

IDENTITY = "c4b7b8e2-0000-4000-8000-000000000000"


def test_what_the_body_leaves_out_is_taken_from_the_properties() -> None:
    message = Message("a.b", b'{"data": 1}', message_id=IDENTITY, timestamp=1795236128)

    assert decode(message).event_data == {
        "routing_key": "a.b",
        "data": 1,
        "domain_object_id": None,
        "uuid_string": IDENTITY,
        "timestamp": 1795236128.0,
    }


def test_what_the_body_says_goes_before_the_properties() -> None:
    body = b'{"routing_key": "c.d", "uuid_string": "mine", "timestamp": 1.5}'
    event = decode(Message("a.b", body, message_id=IDENTITY, timestamp=1795236128))

    assert (event.routing_key, event.uuid_string, event.timestamp) == ("c.d", "mine", 1.5)


def test_a_timestamp_of_zero_is_one() -> None:
    assert decode(Message("a.b", b'{"timestamp": 0}', timestamp=1795236128)).timestamp == 0
    assert decode(Message("a.b", b"{}", timestamp=0)).timestamp == 0


def test_a_message_without_any_property_is_read() -> None:
    event = decode(Message("a.b", b"{}"))

    assert event.routing_key == "a.b"
    assert event.uuid_string
    assert event.timestamp > 0


def test_an_empty_id_counts_as_missing() -> None:
    body = b'{"uuid_string": ""}'

    assert decode(Message("a.b", body, message_id=IDENTITY)).uuid_string == IDENTITY
    assert decode(Message("a.b", body, message_id="")).uuid_string
    assert decode(Message("a.b", body)).uuid_string


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 0),
        ({"deb-retries": 3}, 3),
        ({"deb-retries": -1}, 0),
        ({"deb-retries": True}, 0),
        ({"deb-retries": "3"}, 0),
        ({"deb-retries": None}, 0),
        ({"deb-retries": [1]}, 0),
        ({"x-death": [{"count": 41}]}, 0),
        ({"x-death": [1, 2]}, 0),
    ],
)
def test_retries_are_counted_by_our_own_header_alone(
    headers: dict[str, Any], expected: int
) -> None:
    assert decode(Message("a.b", b"{}", headers=headers)).retries == expected
