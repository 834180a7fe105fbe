"""`DomainEvent.from_json`: what is read, and what is refused with its reason."""

import json
from typing import Any

import pytest

from domain_event_broker import DomainEvent
from domain_event_broker.errors import UnreadableEvent

BODY: dict[str, Any] = {
    "routing_key": "user.registered",
    "data": {"user_id": 1},
    "domain_object_id": "42",
    "uuid_string": "c4b7b8e2-0000-4000-8000-000000000000",
    "timestamp": 1795236128.076064,
}


def body(**changes: Any) -> bytes:
    return json.dumps({**BODY, **changes}).encode()


def with_data(data: str) -> bytes:
    """A body whose data is this text, whatever it is."""
    return b'{"routing_key": "a.b", "data": ' + data.encode() + b"}"


def refusal(json_data: bytes | str) -> str:
    with pytest.raises(UnreadableEvent) as caught:
        DomainEvent.from_json(json_data)
    # A logged traceback must not repeat the payload.
    assert caught.value.__cause__ is None
    return str(caught.value)


@pytest.mark.parametrize("json_data", [body(), body().decode()], ids=["bytes", "str"])
def test_all_five_fields_are_read(json_data: bytes | str) -> None:
    assert DomainEvent.from_json(json_data).event_data == BODY


def test_non_ascii_text_is_read_raw_and_escaped() -> None:
    raw = json.dumps({**BODY, "data": "Zoë 🎉"}, ensure_ascii=False).encode()

    assert DomainEvent.from_json(raw).data == "Zoë 🎉"
    assert DomainEvent.from_json(body(data="Zoë 🎉")).data == "Zoë 🎉"


def test_missing_keys_get_their_defaults() -> None:
    event = DomainEvent.from_json(b"{}")

    assert (event.routing_key, event.data, event.domain_object_id) == ("", {}, None)
    assert event.uuid_string
    assert event.timestamp > 0


def test_null_counts_as_missing() -> None:
    event = DomainEvent.from_json(body(domain_object_id=None, uuid_string=None, timestamp=None))

    assert event.domain_object_id is None
    assert event.uuid_string
    assert event.timestamp > 0


def test_unknown_keys_are_ignored() -> None:
    event = DomainEvent.from_json(body(retries=9, schema_version=2, self="x", cls="y"))

    assert event.event_data == BODY
    assert event.retries == 0


def test_an_integer_domain_object_id_is_kept() -> None:
    identity = DomainEvent.from_json(body(domain_object_id=42)).domain_object_id

    assert identity == 42
    assert isinstance(identity, int)


@pytest.mark.parametrize("data", [None, [], "text", 0, False, 1.5, {"a": [{}]}])
def test_data_may_be_any_json_value(data: Any) -> None:
    assert DomainEvent.from_json(body(data=data)).data == data


@pytest.mark.parametrize("timestamp", [0, 1795236128, -1.5, 1e300])
def test_any_finite_timestamp_is_read(timestamp: float) -> None:
    assert DomainEvent.from_json(body(timestamp=timestamp)).timestamp == timestamp


NO_CLEAN_JSON: list[tuple[bytes | str, str]] = [
    (b'{"data": "\xff"}', "not UTF-8 (byte 10)"),
    ("{}".encode("utf-16"), "not UTF-8"),
    (b"", "not JSON"),
    (b"hello", "not JSON"),
    (b'{"data": 1', "not JSON"),
    (b"{} {}", "not JSON"),
    (b"{'data': 1}", "not JSON"),
    (b"\xef\xbb\xbf{}", "not JSON"),
    (with_data("NaN"), "NaN"),
    (with_data("Infinity"), "Infinity"),
    (with_data("[-Infinity]"), "-Infinity"),
    (with_data("1e400"), "beyond the range of a float"),
    (with_data("[-1e400]"), "beyond the range of a float"),
    (with_data("9" * 5_000), "too many digits"),
    (with_data("-" + "9" * 5_000), "too many digits"),
    (with_data("[" * 100_000 + "]" * 100_000), "nested too deeply"),
    (with_data('{"a":' * 100_000 + "1" + "}" * 100_000), "nested too deeply"),
    (with_data('{"a": 1, "a": 2}'), "same key twice"),
    (with_data('[{"b": {"a": 1, "a": 1}}]'), "same key twice"),
    (b'{"data": 1, "data": 2}', "same key twice"),
    (with_data(r'"\ud800"'), "lone surrogate"),
    (with_data(r'{"\udc00": 1}'), "lone surrogate"),
    (rb'{"routing_key": "\ud800"}', "lone surrogate"),
    ('{"data": "\ud800"}', "lone surrogate"),
]


@pytest.mark.parametrize(
    ("json_data", "reason"), NO_CLEAN_JSON, ids=[reason for _, reason in NO_CLEAN_JSON]
)
def test_what_is_no_clean_json_is_refused(json_data: bytes | str, reason: str) -> None:
    assert reason in refusal(json_data)


def test_a_pair_of_escaped_surrogates_is_one_character() -> None:
    assert DomainEvent.from_json(with_data(r'"\ud83c\udf89"')).data == "🎉"


@pytest.mark.parametrize(
    ("json_data", "kind"),
    [
        (b"[]", "array"),
        (b'"text"', "string"),
        (b"1", "number"),
        (b"1.5", "number"),
        (b"true", "boolean"),
        (b"null", "null"),
    ],
)
def test_a_body_that_is_no_object_is_refused(json_data: bytes, kind: str) -> None:
    assert refusal(json_data) == f"the body is a JSON {kind}, not an object"


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("routing_key", None, "null"),
        ("routing_key", 1, "number"),
        ("routing_key", ["a"], "array"),
        ("routing_key", True, "boolean"),
        ("domain_object_id", 1.5, "number"),
        ("domain_object_id", True, "boolean"),
        ("domain_object_id", {}, "object"),
        ("domain_object_id", [1], "array"),
        ("uuid_string", 1, "number"),
        ("uuid_string", False, "boolean"),
        ("uuid_string", {}, "object"),
        ("timestamp", "2026-01-01", "string"),
        ("timestamp", True, "boolean"),
        ("timestamp", [], "array"),
    ],
)
def test_a_field_of_a_wrong_type_is_refused(name: str, value: Any, kind: str) -> None:
    assert refusal(body(**{name: value})) == f"'{name}' is a JSON {kind}"


@pytest.mark.parametrize(
    "timestamp", ["1" + "0" * 400, "-1" + "0" * 4_000], ids=["400 zeros", "4,000 zeros"]
)
def test_a_timestamp_beyond_the_range_of_a_float_is_refused(timestamp: str) -> None:
    assert refusal(f'{{"timestamp": {timestamp}}}') == "'timestamp' is out of range"


def test_an_id_that_fits_no_property_is_refused() -> None:
    assert DomainEvent.from_json(body(uuid_string="é" * 127)).uuid_string == "é" * 127
    assert "more than 255 bytes" in refusal(body(uuid_string="é" * 128))


def test_the_refusal_quotes_nothing_of_the_body() -> None:
    assert "secret" not in refusal(b'{"data": "secret" oops}')
    assert "secret" not in refusal(b'{"secret": 1, "secret": 2}')


def test_an_unreadable_event_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="not JSON"):
        DomainEvent.from_json(b"hello")
