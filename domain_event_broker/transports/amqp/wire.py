"""Between our `Message` and AMQP's properties and headers."""

from __future__ import annotations

import dataclasses
import logging
import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import attrgetter
from typing import Any

import pika
import pika.data

from ...messages import PREFIX, PROPERTIES, ROUTING_KEY, Message
from ...names import MAX_KEY_BYTES

log = logging.getLogger(__name__)

# All headers travel in one frame, and one beyond the negotiated size (131,072 bytes, by RabbitMQ's
# default) costs the connection. The rest of the frame is for the other properties.
MAX_HEADERS_BYTES = 120_000
# Around the properties: the frame's own start and end, class, weight, body size, flags and the
# table's length.
_FRAME_BYTES = 8 + 12 + 2 + 4
_PERSISTENT = 2

_values_of = attrgetter(*PROPERTIES)


_LENGTHS = [bytes((length,)) for length in range(MAX_KEY_BYTES + 1)]


def _short_string(value: str) -> bytes | None:
    encoded = value.encode("utf-8")
    # An id of a foreign event may be of any length; better none than a message that cannot move.
    return _LENGTHS[len(encoded)] + encoded if len(encoded) < len(_LENGTHS) else None


#: Of those that are the same for most messages.
_usual_string = lru_cache(maxsize=100)(_short_string)

_OCTET = struct.Struct(">B")
_TIMESTAMP = struct.Struct(">Q")
_FLAGS = struct.Struct(">H")
_DELIVERY_MODE = _OCTET.pack(_PERSISTENT)

_Field = tuple[str, int, Callable[[Any], bytes | None]]
# What stands before the headers and the delivery mode, and what after them, in AMQP's order.
_BEFORE: tuple[_Field, ...] = (
    ("content_type", pika.BasicProperties.FLAG_CONTENT_TYPE, _usual_string),
    ("content_encoding", pika.BasicProperties.FLAG_CONTENT_ENCODING, _usual_string),
)
_AFTER: tuple[_Field, ...] = (
    ("priority", pika.BasicProperties.FLAG_PRIORITY, _OCTET.pack),
    ("correlation_id", pika.BasicProperties.FLAG_CORRELATION_ID, _short_string),
    ("reply_to", pika.BasicProperties.FLAG_REPLY_TO, _usual_string),
    ("message_id", pika.BasicProperties.FLAG_MESSAGE_ID, _short_string),
    ("timestamp", pika.BasicProperties.FLAG_TIMESTAMP, _TIMESTAMP.pack),
    ("type", pika.BasicProperties.FLAG_TYPE, _usual_string),
    ("app_id", pika.BasicProperties.FLAG_APP_ID, _usual_string),
)


def encode_properties(message: Message, frame_max: int) -> bytes:
    """The properties of `message`, persistent, as they are written: flags, then values.

    Ours, as pika takes twice as long. Less the headers that do not fit into a frame of `frame_max`
    bytes, which the broker may have lowered: sent nevertheless, they would cost the connection.
    Raises `struct.error` and `UnicodeEncodeError` for what cannot be written.
    """
    flags = pika.BasicProperties.FLAG_DELIVERY_MODE
    some, before = _encode_fields(message, _BEFORE)
    others, after = _encode_fields(message, _AFTER)
    flags |= some | others
    headers = b""
    if message.headers:
        room_bytes = frame_max - _FRAME_BYTES - len(before) - len(_DELIVERY_MODE) - len(after)
        headers = _encode_headers(message.headers, min(room_bytes, MAX_HEADERS_BYTES))
        if headers:
            flags |= pika.BasicProperties.FLAG_HEADERS
    return b"".join((_FLAGS.pack(flags), before, headers, _DELIVERY_MODE, after))


def sent_id(message: Message) -> str | None:
    """The id that `encode_properties` writes."""
    is_sent = message.message_id is not None and _short_string(message.message_id) is not None
    return message.message_id if is_sent else None


def _encode_fields(message: Message, fields: tuple[_Field, ...]) -> tuple[int, bytes]:
    flags, encoded = 0, b""
    for name, flag, encode in fields:
        value = getattr(message, name)
        if value is not None:
            piece = encode(value)
            if piece is not None:
                flags |= flag
                encoded += piece
    return flags, encoded


def _encode_headers(headers: Mapping[Any, Any], max_bytes: int) -> bytes:
    pieces: list[bytes] = []
    fitting = fit_headers(headers, max_bytes)
    if fitting:
        pika.data.encode_table(pieces, fitting)
    return b"".join(pieces)


def to_message(routing_key: str | bytes, properties: pika.BasicProperties, body: bytes) -> Message:
    """What arrived. A copy for one queue has its event's routing key in a header."""
    headers: dict[str, Any] = {}
    original = None
    if properties.headers:
        headers = {_clean(key): value for key, value in properties.headers.items()}
        original = headers.get(ROUTING_KEY)
    values = _values_of(properties)
    if bytes in map(type, values):
        values = tuple(map(_clean, values))
    key = original if isinstance(original, str) else _text(routing_key)
    return Message(key, body, headers, *values)  # which are its fields, in its order


def with_header(message: Message, name: str, value: str) -> Message:
    return dataclasses.replace(message, headers={**message.headers, name: value})


def fit_headers(headers: Mapping[Any, Any], max_bytes: int = MAX_HEADERS_BYTES) -> dict[Any, Any]:
    """The headers that can be sent: ours first, then the others as far as they fit."""
    size = 0
    fitting: dict[Any, Any] = {}
    for key, value in sorted(headers.items(), key=_is_foreign):
        length = _encoded_length(key, value)
        if length is None or size + length > max_bytes:
            log.warning("The header %.80r is too large, or of no AMQP type; it is dropped.", key)
            continue
        size += length
        fitting[key] = value
    return fitting


def _is_foreign(item: tuple[Any, Any]) -> bool:
    key = item[0]
    return not (isinstance(key, str) and key.startswith(PREFIX))


def _encoded_length(key: Any, value: Any) -> int | None:
    try:
        length: int = pika.data.encode_table([], {key: value})
    except Exception:  # pika raises anything from struct.error to RecursionError
        return None
    return length


def _clean(value: Any) -> Any:
    """Text instead of the bytes that pika leaves where a short string is no UTF-8.

    Cut to what a short string holds, so that it can be sent again.
    """
    if not isinstance(value, bytes):
        return value
    return _text(value).encode("utf-8")[:MAX_KEY_BYTES].decode("utf-8", "ignore")


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")
