"""Between a `DomainEvent` and the `Message` that carries it.

The body is what 3.x writes and reads: UTF-8 JSON with exactly five keys. All else travels in
properties and headers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from functools import singledispatch
from typing import Any

from .context import current_handling
from .errors import EventTooLarge, InvalidEvent, InvalidEventType, UnreadableEvent
from .events import DomainEvent, new_uuid_string, read_fields
from .messages import CAUSATION_ID, RETRIES, Message
from .names import MAX_KEY_BYTES, byte_length, is_encodable

CONTENT_TYPE = "application/json"
CONTENT_ENCODING = "utf-8"
# AMQP's timestamp is a 64-bit count of seconds; Python's datetime ends with the year 9999.
_MAX_TIMESTAMP = 253_402_300_799


def encode(event: DomainEvent, *, app_id: str | None, max_event_bytes: int) -> Message:
    """Encode `event` as it is now.

    Raises `InvalidEvent` (a `ValueError`; for a wrong type also a `TypeError`) or `EventTooLarge`.
    Inside a handler the message names the handled event as its cause.
    """
    _check_type(event)
    _check_fields(event)
    body = encode_body(event)
    check_size(body, max_event_bytes, event.routing_key)
    cause = current_handling()
    return Message(
        routing_key=event.routing_key,
        body=body,
        message_id=event.uuid_string,
        timestamp=_amqp_timestamp(event.timestamp),
        content_type=CONTENT_TYPE,
        content_encoding=CONTENT_ENCODING,
        correlation_id=cause.correlation_id if cause else event.uuid_string,
        app_id=app_id,
        headers={CAUSATION_ID: cause.event_id} if cause else {},
    )


def encode_raw(
    body: bytes | str, routing_key: str | None, *, app_id: str | None, max_event_bytes: int
) -> Message:
    """A message of a body that is encoded already, whatever it holds.

    Without `routing_key`, that of the body. Raises as `encode` does, and `UnreadableEvent` if the
    body's own routing key is needed and cannot be read.
    """
    body = _to_bytes(body)
    message = Message(routing_key="", body=body, app_id=app_id)
    try:
        fields = read_fields(body)
    except UnreadableEvent:
        if routing_key is None:
            raise
        fields = {}
    else:
        message = replace(message, content_type=CONTENT_TYPE, content_encoding=CONTENT_ENCODING)
    key = fields.get("routing_key", "") if routing_key is None else routing_key
    check_routing_key(key)
    check_size(body, max_event_bytes, key)
    identity = fields.get("uuid_string") or new_uuid_string()
    cause = current_handling()
    return replace(
        message,
        routing_key=key,
        message_id=identity,
        timestamp=_amqp_timestamp(fields.get("timestamp")),
        correlation_id=cause.correlation_id if cause else identity,
        headers={CAUSATION_ID: cause.event_id} if cause else {},
    )


def _to_bytes(body: object) -> bytes:
    if isinstance(body, bytes):
        return body
    if not isinstance(body, str):
        raise InvalidEventType(f"The body must be bytes or a string, not {type(body).__name__}.")
    if not is_encodable(body):
        raise InvalidEvent("The body holds a lone surrogate, which UTF-8 cannot carry.")
    return body.encode("utf-8")


def encode_body(event: DomainEvent) -> bytes:
    """The event's five fields as UTF-8 JSON. Raises `InvalidEvent`."""
    try:
        body = _ENCODER.encode(event.event_data).encode("utf-8")
        if not _is_plain(event):
            # What its handlers would refuse must not be sent, such as {1: "a", "1": "b"}.
            read_fields(body)
        return body
    except UnreadableEvent as error:
        problem = f"could not be read again: {error}"
    except UnicodeEncodeError:
        problem = "holds a lone surrogate such as \\ud800, which UTF-8 cannot carry"
    except RecursionError:
        problem = "is nested too deeply, or contains itself"
    except TypeError as error:
        raise InvalidEventType(
            f"The event {event.routing_key!r} cannot be encoded as JSON: {error}"
        ) from error
    except ValueError as error:
        problem = f"cannot be encoded as JSON: {error}"
    raise InvalidEvent(f"The event {event.routing_key!r} {problem}.")


_STRINGS = frozenset({str})
_SCALARS = frozenset({str, int, float, bool, type(None)})


def _is_plain(event: DomainEvent) -> bool:
    """Whether what was encoded is known to be readable, without reading it: it nearly always is."""
    return (
        type(event.timestamp) is float
        and type(event.data) is dict
        and _STRINGS.issuperset(map(type, event.data))
        and _SCALARS.issuperset(map(type, event.data.values()))
    )


@singledispatch
def to_json(value: Any) -> Any:
    """What to write for a value that JSON has no type for; register further types here."""
    if _is_a("decimal", "Decimal", value) or _is_a("uuid", "UUID", value):
        return str(value)
    raise TypeError(f"an object of type {type(value).__name__} is not JSON serializable")


@to_json.register
def _(value: datetime | date | time) -> str:
    return value.isoformat()


@to_json.register
def _(value: timedelta) -> str:
    """ISO 8601, as `django.utils.duration.duration_iso_string` writes it."""
    sign, value = ("-", -value) if value < timedelta(0) else ("", value)
    minutes, seconds = divmod(value.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{value.microseconds:06d}" if value.microseconds else ""
    return f"{sign}P{value.days}DT{hours:02d}H{minutes:02d}M{seconds:02d}{fraction}S"


def _is_a(module: str, name: str, value: object) -> bool:
    """Whether it is of a type that takes long to import: nobody who did not has such a value."""
    return isinstance(value, getattr(sys.modules.get(module), name, ()))


_ENCODER = json.JSONEncoder(allow_nan=False, ensure_ascii=False, default=to_json)


def decode(message: Message) -> DomainEvent:
    """Read the event that `message` carries. Raises `UnreadableEvent`.

    What the body leaves out is taken from the properties.
    """
    fields = read_fields(message.body)
    fields.setdefault("routing_key", message.routing_key)
    if not fields.get("uuid_string"):
        fields["uuid_string"] = message.message_id or None
    if fields.get("timestamp") is None and message.timestamp is not None:
        fields["timestamp"] = float(message.timestamp)
    return DomainEvent(**fields, retries=retries(message.headers))


def retries(headers: Mapping[str, Any]) -> int:
    """How often handling was tried before. ``x-death`` is not asked: RabbitMQ 4 ignores it."""
    return integer_header(headers, RETRIES)


def integer_header(headers: Mapping[str, Any], name: str) -> int:
    """A header of ours, or 0 where it is missing or somebody wrote nonsense into it."""
    value = headers.get(name, 0)
    is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return int(value) if is_count else 0


def check_routing_key(routing_key: object) -> None:
    if not isinstance(routing_key, str):
        raise InvalidEventType(
            f"The routing key must be a string, not {type(routing_key).__name__}."
        )
    if not routing_key:
        raise InvalidEvent("The routing key is empty; give one such as 'user.registered'.")
    _check_short_string("routing key", routing_key)


def check_size(body: bytes, max_event_bytes: int, routing_key: str) -> None:
    if len(body) > max_event_bytes:
        raise EventTooLarge(
            f"The event {routing_key!r} has {len(body)} bytes; MAX_EVENT_BYTES allows "
            f"{max_event_bytes}. Publish a reference to large data, not the data."
        )


def _check_type(event: object) -> None:
    if not isinstance(event, DomainEvent):
        raise InvalidEventType(f"Only a DomainEvent can be sent, not {type(event).__name__}.")


def _check_fields(event: DomainEvent) -> None:
    check_routing_key(event.routing_key)
    if not isinstance(event.uuid_string, str):
        raise InvalidEventType(
            f"uuid_string must be a string, not {type(event.uuid_string).__name__}."
        )
    if not event.uuid_string:
        raise InvalidEvent("uuid_string is empty; leave it out to get a new one.")
    _check_short_string("uuid_string", event.uuid_string)
    _check_object_id(event.domain_object_id)
    if isinstance(event.timestamp, bool) or not isinstance(event.timestamp, int | float):
        raise InvalidEventType(
            "timestamp must be a number of seconds since the epoch, not "
            f"{type(event.timestamp).__name__}."
        )


def _check_object_id(value: object) -> None:
    is_known = isinstance(value, str | int | None) and not isinstance(value, bool)
    if not (is_known or _is_a("uuid", "UUID", value)):
        raise InvalidEventType(
            f"domain_object_id must be a string, an integer or None, not {type(value).__name__}."
        )


def _check_short_string(what: str, value: str) -> None:
    if value.isascii() and len(value) <= MAX_KEY_BYTES:
        return
    if not is_encodable(value):
        raise InvalidEvent(f"The {what} {value[:40]!r} holds a lone surrogate; it cannot be sent.")
    if byte_length(value) > MAX_KEY_BYTES:
        raise InvalidEvent(
            f"The {what} {value[:40]!r}... has {byte_length(value)} bytes; "
            f"at most {MAX_KEY_BYTES} fit."
        )


def _amqp_timestamp(seconds: float | None) -> int | None:
    """Whole seconds for the property, or nothing where it cannot hold them."""
    if seconds is None or not 0 <= seconds <= _MAX_TIMESTAMP:
        return None
    return int(seconds)
