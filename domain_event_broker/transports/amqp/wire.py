"""Between our `Message` and AMQP's properties and headers."""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Mapping
from operator import attrgetter
from typing import Any

import pika
import pika.data

from ...messages import PREFIX, PROPERTIES, ROUTING_KEY, Message
from ...names import MAX_KEY_BYTES, byte_length

log = logging.getLogger(__name__)

# All headers travel in one frame, and one beyond the negotiated size (131,072 bytes, by RabbitMQ's
# default) costs the connection. The rest of the frame is for the other properties.
MAX_HEADERS_BYTES = 120_000
# Around the properties: the frame's own start and end, class, weight, body size and the table's
# length.
_FRAME_BYTES = 8 + 12 + 4
_PERSISTENT = 2

_values_of = attrgetter(*PROPERTIES)


def to_properties(message: Message) -> pika.BasicProperties:
    """Persistent properties for publishing `message`."""
    properties = pika.BasicProperties(delivery_mode=_PERSISTENT)
    if message.headers:
        properties.headers = fit_headers(message.headers) or None
    for name, value in zip(PROPERTIES, _values_of(message), strict=True):
        if value is not None:
            setattr(properties, name, _fitting(value))
    return properties


def _fitting(value: Any) -> Any:
    # An id of a foreign event may be of any length; better none than a message that cannot move.
    is_long = isinstance(value, str) and 4 * len(value) > MAX_KEY_BYTES
    return None if is_long and byte_length(value) > MAX_KEY_BYTES else value


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


def fit_frame(properties: pika.BasicProperties, frame_max: int) -> pika.BasicProperties:
    """`properties` for a connection with frames of this size, which the broker may have lowered.

    Less the headers that do not fit: sent nevertheless, they would cost the connection.
    """
    if not properties.headers or _frame_length(properties) <= frame_max:
        return properties
    fitting = copy.copy(properties)
    fitting.headers = None
    fitting.headers = fit_headers(properties.headers, frame_max - _frame_length(fitting))
    return fitting


def _frame_length(properties: pika.BasicProperties) -> int:
    return _FRAME_BYTES + sum(map(len, properties.encode()))


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
