"""Messages in columns: whatever arrives comes out as it went in."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from django.db import connections

from domain_event_broker import DomainEvent
from domain_event_broker.django.inserting import write_to_outbox
from domain_event_broker.django.sending import outbox
from domain_event_broker.django.stored import to_columns, to_message_at_least
from domain_event_broker.encoding import encode
from domain_event_broker.messages import UNREADABLE_HEADERS, Message
from tests.conformance.publishing import BODIES, FOREIGN_HEADERS

HEADERS: dict[str, dict[str, Any]] = {
    "none": {},
    "ours": {"deb-retries": 3, "deb-causation-id": "an id"},
    "foreign": FOREIGN_HEADERS,
    "a NUL": {"nul\0key": "nul\0value"},
    "a lone surrogate": {"key \ud800": "value \udfff"},
    "astral": {"🎉": "🎉"},
    "bytes": {"bytes": bytes(range(256)), "none": b""},
    "a time elsewhere": {"time": datetime(2026, 1, 2, 3, 4, 5, 6, timezone(timedelta(hours=-9)))},
    "a decimal": {"decimal": Decimal("-1.50"), "large": Decimal(10) ** 30},
    "numbers": {"int": 2**63, "float": 1.5e300, "true": True, "false": False},
    "tables in lists in tables": {"a": {"b": [{"c": {"d": [b"\0", None, {"e": {}}]}}]}},
    "what looks like ours inside": {
        "$bytes": "no",
        "t": {"$bytes": "YQ==", "$table": {"$time": 1}},
    },
    "empty containers": {"table": {}, "list": []},
}


def full(**changes: Any) -> Message:
    """A message with each property."""
    fields: dict[str, Any] = {
        "routing_key": "user.registered",
        "body": b"{}",
        "message_id": "an id",
        "timestamp": 1_700_000_000,
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "correlation_id": "a correlation",
        "app_id": "an app",
        "type": "a type",
        "reply_to": "a queue",
        "priority": 9,
        "headers": {"key": "value"},
    }
    return Message(**{**fields, **changes})


def stored(message: Message) -> Message:
    """What comes back out of a row of the database."""
    rows = outbox("default")
    write_to_outbox([message], "a token", -1, connections["default"])
    (row,) = rows.claim(1, "another", lease_seconds=60)
    return row.message


pytestmark = pytest.mark.django_db


def test_each_property_comes_back() -> None:
    assert stored(full()) == full()


def test_what_is_not_there_stays_away() -> None:
    assert stored(Message("a.b", b"")) == Message("a.b", b"")


@pytest.mark.parametrize(
    "changes",
    [
        {"correlation_id": None},
        {"content_type": None, "content_encoding": None},
        {"message_id": None, "correlation_id": "an id"},
        {"message_id": "", "correlation_id": None},
        {"message_id": "nul\0", "correlation_id": "nul\0"},
        {"message_id": "nul\0", "correlation_id": "nul\\0"},
    ],
)
def test_what_the_columns_imply_is_not_taken_for_what_was_there(changes: dict[str, Any]) -> None:
    assert stored(full(**changes)) == full(**changes)


def test_nothing_is_not_none() -> None:
    empty = full(message_id="", correlation_id="", app_id="", timestamp=0, priority=0)

    assert stored(empty) == empty


@pytest.mark.parametrize("case", BODIES)
def test_any_body_comes_back_verbatim(case: str) -> None:
    assert stored(full(body=BODIES[case])).body == BODIES[case]


@pytest.mark.parametrize("case", HEADERS)
def test_any_header_comes_back_as_it_was(case: str) -> None:
    came = stored(full(headers=HEADERS[case])).headers

    assert came == HEADERS[case]
    assert repr(came) == repr(HEADERS[case])  # 1 is not True, and 1.0 not 1


def test_a_tuple_comes_back_as_a_list_and_a_bytearray_as_bytes() -> None:
    came = stored(full(headers={"tuple": (1, (2,)), "bytearray": bytearray(b"\xff")})).headers

    assert came == {"tuple": [1, [2]], "bytearray": b"\xff"}


def test_a_name_in_bytes_comes_back_as_text() -> None:
    headers: dict[Any, Any] = {b"name": 1, b"no \xff UTF-8": {b"inner": 2}}

    assert stored(full(headers=headers)).headers == {
        "name": 1,
        "no \\xff UTF-8": {"inner": 2},
    }


@pytest.mark.parametrize("text", ["nul\0", "lone \ud800 surrogate", "Zoë 🎉", "x" * 255])
def test_any_id_and_key_come_back_as_they_were(text: str) -> None:
    message = full(routing_key=text, message_id=text)

    assert stored(message) == message


def test_the_columns_for_people_can_be_stored_and_read() -> None:
    columns = to_columns(full(routing_key="nul\0 and \ud800", message_id="é" * 400))

    assert columns.routing_key == "nul\\0 and \\ud800"
    assert columns.event_id == "é" * 255
    assert columns.properties.isascii()
    assert to_columns(full(message_id=None)).event_id == ""


def test_an_event_that_we_encode_comes_back() -> None:
    event = DomainEvent("user.registered", {"name": "Zoë 🎉", "nul": "\0"}, 7)
    message = encode(event, app_id="shop", max_event_bytes=1_000)

    assert stored(message) == message


@pytest.mark.parametrize(
    "properties",
    [
        "",
        "{",
        "[]",
        "null",
        '{"headers": 1}',
        '{"headers": {"a": {"$later": 1}}}',
        '{"headers": {"a": {"$time": "now"}}}',
        '{"headers": {"a": {"$decimal": "much"}}}',
        '{"headers": {"a": {}}}',
        '{"later": 1}',
        '{"headers": ' + '{"a": ' * 50_000 + "1" + "}" * 50_001,
    ],
    ids=range(11),
)
def test_properties_that_cannot_be_read_cost_themselves_only(
    properties: str, caplog: pytest.LogCaptureFixture
) -> None:
    """They are a newer version's, or somebody's who writes into our tables."""
    message = to_message_at_least("an id", "user.registered", b"{}", properties)

    assert (message.message_id, message.routing_key) == ("an id", "user.registered")
    assert message.body == b"{}"
    assert list(message.headers) == [UNREADABLE_HEADERS]
    assert "'an id'" in caplog.text


@pytest.mark.django_db
def test_a_row_with_such_properties_holds_up_no_other() -> None:
    token = "somebody"
    ids = write_to_outbox([full(), full(), full()], token, -1.0, connections["default"])
    outbox("default").filter(pk=ids[1]).update(properties="{")
    claimed = outbox("default").claim(3, token, 60.0)

    assert [row.id for row in claimed] == ids
    assert [row.message.body for row in claimed] == [b"{}"] * 3
