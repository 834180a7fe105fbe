"""From an event to its message: the five keys on the wire, the properties, and what is refused."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest

from domain_event_broker import DomainEvent
from domain_event_broker.context import handling
from domain_event_broker.encoding import decode, encode
from domain_event_broker.errors import EventTooLarge, InvalidEvent
from domain_event_broker.messages import Message

IDENTITY = "c4b7b8e2-0000-4000-8000-000000000000"
# As 3.0.2 writes it: ASCII only.
BODY_OF_3_X = (
    b'{"routing_key": "user.registered", "data": {"user_id": 1, "name": "Zo\\u00eb"}, '
    b'"domain_object_id": "42", "uuid_string": "c4b7b8e2-0000-4000-8000-000000000000", '
    b'"timestamp": 1795236128.076064}'
)
# As it is written here: the same in UTF-8.
BODY = BODY_OF_3_X.replace(b"\\u00eb", "ë".encode())


def event(**changes: Any) -> DomainEvent:
    fields: dict[str, Any] = {
        "routing_key": "user.registered",
        "data": {"user_id": 1, "name": "Zoë"},
        "domain_object_id": "42",
        "uuid_string": IDENTITY,
        "timestamp": 1795236128.076064,
    }
    return DomainEvent(**{**fields, **changes})


def encoded(max_event_bytes: int = 1024 * 1024, **changes: Any) -> Message:
    return encode(event(**changes), app_id="shop", max_event_bytes=max_event_bytes)


def written_data(data: Any) -> Any:
    return json.loads(encoded(data=data).body)["data"]


def read_by_3_x(body: bytes) -> dict[str, Any]:
    """3.0.2 passes whatever the body holds to an initializer with these parameters."""

    def initialize(
        routing_key: str = "",
        data: object = None,
        domain_object_id: object = None,
        uuid_string: object = None,
        timestamp: object = None,
        retries: int = 0,
    ) -> dict[str, Any]:
        return locals()

    return initialize(**json.loads(body))


@contextmanager
def refused(error: type[Exception], text: str) -> Iterator[None]:
    with pytest.raises(error, match=text) as caught:
        yield
    assert isinstance(caught.value, InvalidEvent | EventTooLarge)
    assert isinstance(caught.value, ValueError)


def test_the_body_is_utf_8_json_with_the_five_keys() -> None:
    assert encoded().body == BODY


def test_the_number_of_retries_stays_out_of_the_body() -> None:
    assert encoded(retries=3).body == BODY


def test_3_x_reads_what_is_written() -> None:
    fields = read_by_3_x(encoded().body)

    assert fields.pop("retries") == 0
    assert fields == event().event_data


def test_what_3_x_writes_is_read() -> None:
    assert decode(Message("user.registered", BODY_OF_3_X)) == event()


def test_what_is_written_is_read() -> None:
    assert decode(encoded()) == event()


def test_an_absent_domain_object_id_is_written_as_null() -> None:
    assert json.loads(encoded(domain_object_id=None).body)["domain_object_id"] is None


def test_the_properties_say_what_is_inside() -> None:
    message = encoded()

    assert message == Message(
        routing_key="user.registered",
        body=BODY,
        message_id=IDENTITY,
        timestamp=1795236128,
        content_type="application/json",
        content_encoding="utf-8",
        correlation_id=IDENTITY,
        app_id="shop",
        headers={},
    )


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [(0, 0), (1.999, 1), (-1.0, None), (1e300, None), (253_402_300_800, None)],
)
def test_the_timestamp_property_is_left_out_where_it_cannot_hold_it(
    timestamp: float, expected: int | None
) -> None:
    message = encoded(timestamp=timestamp)

    assert message.timestamp == expected
    assert decode(message).timestamp == timestamp


def test_inside_a_handler_the_handled_event_is_named_as_the_cause() -> None:
    with handling("the-cause", "the-beginning"):
        message = encoded()

    assert message.headers == {"deb-causation-id": "the-cause"}
    assert message.correlation_id == "the-beginning"
    assert message.message_id == IDENTITY
    assert encoded().headers == {}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC), "2026-01-02T03:04:05.678900+00:00"),
        (
            datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=-5))),
            "2026-01-02T00:00:00-05:00",
        ),
        (datetime(2026, 1, 2, 3, 4), "2026-01-02T03:04:00"),  # noqa: DTZ001
        (date(2026, 1, 2), "2026-01-02"),
        (time(3, 4, 5), "03:04:05"),
        (timedelta(days=1, hours=2, minutes=3, seconds=4), "P1DT02H03M04S"),
        (timedelta(seconds=-1, microseconds=-500), "-P0DT00H00M01.000500S"),
        (Decimal("10.10"), "10.10"),
        (UUID(IDENTITY), IDENTITY),
        (("a", 1), ["a", 1]),
        (StrEnum("Color", ["RED"]).RED, "red"),  # type: ignore[attr-defined]
    ],
)
def test_values_that_json_has_no_type_for_become_strings(value: Any, expected: Any) -> None:
    assert written_data({"deep": [value]}) == {"deep": [expected]}


def test_a_uuid_may_be_the_domain_object_id() -> None:
    assert json.loads(encoded(domain_object_id=UUID(IDENTITY)).body)["domain_object_id"] == IDENTITY


def test_an_integer_domain_object_id_stays_one() -> None:
    message = encoded(domain_object_id=42)

    assert b'"domain_object_id": 42,' in message.body
    assert decode(message).domain_object_id == 42


def test_encoding_leaves_the_event_as_it_is() -> None:
    data = {"price": Decimal("1.10")}
    subject = event(data=data)
    encode(subject, app_id=None, max_event_bytes=1000)

    assert subject.data is data
    assert subject.data == {"price": Decimal("1.10")}


def test_the_size_limit_counts_the_bytes_of_the_body() -> None:
    assert encoded(max_event_bytes=len(BODY)).body == BODY
    with refused(EventTooLarge, rf"has {len(BODY)} bytes; MAX_EVENT_BYTES allows {len(BODY) - 1}"):
        encoded(max_event_bytes=len(BODY) - 1)


@pytest.mark.parametrize("name", ["routing_key", "uuid_string"])
@pytest.mark.parametrize("text", ["k" * 255, "é" * 127 + "k"], ids=["ascii", "multibyte"])
def test_keys_and_ids_of_255_bytes_are_sent(name: str, text: str) -> None:
    changes: dict[str, Any] = {name: text}

    assert decode(encoded(**changes)) == event(**changes)


@pytest.mark.parametrize("name", ["routing_key", "uuid_string"])
@pytest.mark.parametrize("text", ["k" * 256, "é" * 128], ids=["ascii", "multibyte"])
def test_keys_and_ids_of_256_bytes_are_refused(name: str, text: str) -> None:
    changes: dict[str, Any] = {name: text}

    with refused(InvalidEvent, "256 bytes; at most 255 fit"):
        encoded(**changes)
