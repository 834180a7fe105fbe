"""Between a `Message` and the columns that keep it.

`properties` is JSON of what the other columns do not imply, in ASCII, so that no database stumbles
over a NUL or another encoding. What JSON has no type for stands in a one-key object: headers of
others may hold anything.
"""

from __future__ import annotations

import json
import logging
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any, NamedTuple

from ..encoding import CONTENT_ENCODING, CONTENT_TYPE
from ..messages import PROPERTIES, UNREADABLE_HEADERS, Message
from ..names import MAX_KEY_BYTES

log = logging.getLogger(__name__)

_FIELDS = ("routing_key", *PROPERTIES)
_values_of = attrgetter(*_FIELDS)
_BYTES, _TIME, _DECIMAL, _TABLE = "$bytes", "$time", "$decimal", "$table"


class Columns(NamedTuple):
    """The values of `StoredMessage` that are the message's own, in its order."""

    event_id: str
    routing_key: str
    body: bytes
    properties: str


def to_columns(message: Message) -> Columns:
    event_id = shown(message.message_id or "")
    routing_key = shown(message.routing_key)
    implied = _implied(event_id, routing_key)
    pairs = zip(_FIELDS, _values_of(message), map(implied.get, _FIELDS), strict=True)
    fields: dict[str, Any] = {name: value for name, value, known in pairs if value != known}
    if message.headers:
        fields["headers"] = {_text(key): _pack(value) for key, value in message.headers.items()}
    return Columns(event_id, routing_key, message.body, _ENCODER.encode(fields))


def to_message(
    event_id: str, routing_key: str, body: bytes | memoryview, properties: str
) -> Message:
    fields = json.loads(properties)
    headers = {key: _unpack(value) for key, value in fields.pop("headers", {}).items()}
    return Message(body=bytes(body), headers=headers, **_implied(event_id, routing_key) | fields)


def to_message_at_least(
    event_id: str, routing_key: str, body: bytes | memoryview, properties: str
) -> Message:
    """As `to_message`; where the properties cannot be read, the message without them.

    Somebody else wrote them. Without this whoever claims the row would fail, again and again, and
    all that waits behind it would wait on.
    """
    try:
        return to_message(event_id, routing_key, body, properties)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError,
            ValueError) as error:  # fmt: skip
        log.warning(
            "Event %r: its properties cannot be read (%r); they are dropped.", event_id, error
        )
        headers = {UNREADABLE_HEADERS: type(error).__name__}
        return Message(body=bytes(body), headers=headers, **_implied(event_id, routing_key))


def _implied(event_id: str, routing_key: str) -> dict[str, Any]:
    """The properties that nearly every message has; only those that differ are written down."""
    return {
        "routing_key": routing_key,
        "message_id": event_id,
        "correlation_id": event_id,
        "content_type": CONTENT_TYPE,
        "content_encoding": CONTENT_ENCODING,
    }


_ENCODER = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"))


def _pack(value: Any) -> Any:
    if isinstance(value, bytes | bytearray):
        return {_BYTES: b64encode(value).decode("ascii")}
    if isinstance(value, datetime):
        return {_TIME: value.isoformat()}
    if isinstance(value, Decimal):
        return {_DECIMAL: str(value)}
    if isinstance(value, dict):
        return {_TABLE: {_text(key): _pack(inner) for key, inner in value.items()}}
    if isinstance(value, list | tuple):
        return [_pack(inner) for inner in value]
    return value


def _unpack(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpack(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == _TABLE:
        return {key: _unpack(each) for key, each in inner.items()}
    return _SCALARS[kind](inner)


_SCALARS: dict[str, Callable[[Any], Any]] = {
    _BYTES: b64decode,
    _TIME: datetime.fromisoformat,
    _DECIMAL: Decimal,
}


def _text(key: str | bytes) -> str:
    return key if isinstance(key, str) else key.decode("utf-8", "backslashreplace")


def shown(text: str, most: int = MAX_KEY_BYTES) -> str:
    """`text` as every database can store it, so many characters at most."""
    if text.isascii() and len(text) <= most and "\0" not in text:
        return text
    # PostgreSQL's text holds no NUL, and no surrogate; the properties do.
    storable = text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\0")
    return storable[:most]
