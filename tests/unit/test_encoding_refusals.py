"""What cannot be encoded is refused before anything is sent, with a reason."""

from typing import Any

import pytest

from domain_event_broker import DomainEvent
from domain_event_broker.encoding import encode, encode_raw
from domain_event_broker.errors import EventTooLarge, InvalidEvent, UnreadableEvent
from domain_event_broker.messages import Message

MAX_BYTES = 200_000
IDENTITY = "c4b7b8e2-0000-4000-8000-000000000000"


class Custom:
    pass


class Contrary:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def cycle() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = [value]
    return value


def refusal(event: Any) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as caught:
        encode(event, app_id=None, max_event_bytes=MAX_BYTES)
    assert isinstance(caught.value, ValueError)
    return caught.value


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (float("nan"), "not JSON compliant"),
        ([float("inf")], "not JSON compliant"),
        ({"a": float("-inf")}, "not JSON compliant"),
        (cycle(), "Circular reference"),
        pytest.param(nested(100_000), "nested too deeply", id="100,000 levels"),
        pytest.param(10**5_000, "Exceeds the limit", id="integer of 5,001 digits"),
        ("\ud800", "lone surrogate"),
        ({"\udfff": 1}, "lone surrogate"),
        ({1: "a", "1": "b"}, "same key twice"),
        ({None: "a", "null": "b"}, "same key twice"),
        ({True: "a", "true": "b"}, "same key twice"),
    ],
)
def test_data_that_no_reader_could_take_is_refused(data: Any, reason: str) -> None:
    error = refusal(DomainEvent("user.registered", data))

    assert reason in str(error)
    assert "'user.registered'" in str(error)
    assert not isinstance(error, TypeError)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ({1, 2}, "set"),
        (b"bytes", "bytes"),
        (Custom(), "Custom"),
        (Contrary(), "Contrary"),
        ({"a": [object()]}, "object"),
        (1j, "complex"),
        ({("a", 1): 1}, "tuple"),
    ],
)
def test_data_of_a_type_unknown_to_json_is_a_type_error_as_well(data: Any, kind: str) -> None:
    error = refusal(DomainEvent("user.registered", data))

    assert kind in str(error)
    assert isinstance(error, TypeError)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"routing_key": None}, "routing key must be a string, not NoneType"),
        ({"routing_key": 5}, "routing key must be a string, not int"),
        ({"routing_key": b"a.b"}, "routing key must be a string, not bytes"),
        ({"uuid_string": 5}, "uuid_string must be a string, not int"),
        ({"uuid_string": Custom()}, "uuid_string must be a string, not Custom"),
        ({"domain_object_id": 1.5}, "domain_object_id must be .*, not float"),
        ({"domain_object_id": True}, "domain_object_id must be .*, not bool"),
        ({"domain_object_id": {}}, "domain_object_id must be .*, not dict"),
        ({"timestamp": "now"}, "timestamp must be .*, not str"),
        ({"timestamp": True}, "timestamp must be .*, not bool"),
    ],
)
def test_a_field_of_a_wrong_type_is_a_type_error_as_well(
    changes: dict[str, Any], text: str
) -> None:
    error = refusal(DomainEvent(**{"routing_key": "a.b", **changes}))

    assert error.args[0]
    with pytest.raises(TypeError, match=text):
        raise error


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"routing_key": ""}, "routing key is empty"),
        ({"routing_key": "a.\ud800"}, "lone surrogate"),
        ({"uuid_string": ""}, "uuid_string is empty"),
        ({"uuid_string": "\ud800"}, "lone surrogate"),
        ({"domain_object_id": "\ud800"}, "lone surrogate"),
        ({"domain_object_id": 10**5_000}, "Exceeds the limit"),
        ({"timestamp": float("nan")}, "not JSON compliant"),
        ({"timestamp": float("inf")}, "not JSON compliant"),
        ({"timestamp": 10**400}, "'timestamp' is out of range"),
    ],
)
def test_a_field_with_a_bad_value_is_refused(changes: dict[str, Any], text: str) -> None:
    assert text in str(refusal(DomainEvent(**{"routing_key": "a.b", **changes})))


@pytest.mark.parametrize("subject", [None, {"routing_key": "a.b"}, "a.b"])
def test_only_events_are_encoded(subject: object) -> None:
    assert isinstance(refusal(subject), TypeError)


def test_a_refusal_of_a_long_key_does_not_quote_all_of_it() -> None:
    assert len(str(refusal(DomainEvent("k" * 10_000)))) < 200


def raw(body: Any, routing_key: str | None = None) -> Message:
    return encode_raw(body, routing_key, app_id="shop", max_event_bytes=MAX_BYTES)


def test_a_raw_body_is_sent_verbatim_under_its_own_routing_key_and_id() -> None:
    body = b'{ "routing_key":"a.b", "uuid_string":"%s", "timestamp":7.5 }' % IDENTITY.encode()
    message = raw(body)

    assert message.body == body
    assert message.routing_key == "a.b"
    assert message.message_id == message.correlation_id == IDENTITY
    assert message.timestamp == 7
    assert message.content_type == "application/json"
    assert message.app_id == "shop"


def test_a_raw_string_is_sent_as_utf_8() -> None:
    assert raw('{"data": "ë"}', "a.b").body == '{"data": "ë"}'.encode()


def test_a_given_routing_key_goes_before_that_of_the_body() -> None:
    assert raw(b'{"routing_key": "a.b"}', "c.d").routing_key == "c.d"


@pytest.mark.parametrize("body", [b"", b"\xff\x00", b"hello", b"[]"])
def test_any_bytes_are_sent_under_a_given_routing_key(body: bytes) -> None:
    message = raw(body, "a.b")

    assert message.body == body
    assert message.message_id
    assert message.content_type is None


def test_a_raw_body_without_a_routing_key_anywhere_is_refused() -> None:
    with pytest.raises(UnreadableEvent, match="not JSON"):
        raw(b"hello")
    with pytest.raises(InvalidEvent, match="routing key is empty"):
        raw(b"{}")


@pytest.mark.parametrize("body", [None, {"routing_key": "a.b"}, DomainEvent("a.b"), bytearray()])
def test_a_raw_body_must_be_bytes_or_a_string(body: object) -> None:
    with pytest.raises(TypeError, match="must be bytes or a string") as caught:
        raw(body, "a.b")
    assert isinstance(caught.value, InvalidEvent)


def test_a_raw_string_with_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(InvalidEvent, match="lone surrogate"):
        raw('{"data": "\ud800"}', "a.b")


def test_a_raw_body_beyond_the_limit_is_refused() -> None:
    assert raw(b"x" * MAX_BYTES, "a.b").body == b"x" * MAX_BYTES
    with pytest.raises(EventTooLarge):
        raw(b"x" * (MAX_BYTES + 1), "a.b")
