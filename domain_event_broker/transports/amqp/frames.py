"""Finding frames in what was read; deliveries, messages and acknowledgements in one go.

These are what most frames are about. A delivery that is not exactly as expected is left to pika.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import NamedTuple

import pika
import pika.frame
import pika.spec

FRAME_START = struct.Struct(">BHL")
CONTENT_HEADER = struct.Struct(">HHQ")
_DELIVER = struct.pack(">L", pika.spec.Basic.Deliver.INDEX)
_TAG_AND_BITS = struct.Struct(">QB")
_END: int = pika.spec.FRAME_END
_END_BYTES: int = pika.spec.FRAME_END_SIZE
_END_MARK = bytes([_END])
_ACK = struct.Struct(">BHLLQ?B")


class Delivered(NamedTuple):
    """A ``basic.deliver`` with its content, and where it ends."""

    channel_number: int
    method: pika.spec.Basic.Deliver
    properties: pika.BasicProperties
    body: bytes
    end: int


def frame_end(data: bytes, start: int) -> int:
    """Where the frame ends that begins at `start`; beyond the data where it is not all there."""
    if start + FRAME_START.size > len(data):
        return len(data) + 1
    size: int = FRAME_START.unpack_from(data, start)[2]
    return start + FRAME_START.size + size + _END_BYTES


def read_delivery(data: bytes, start: int) -> Delivered | None:
    """The delivery that begins at `start` if all of it is there, and nothing about it is odd.

    Three objects, where pika makes and dispatches three frames. Raises whatever pika raises for
    headers that it cannot read.
    """
    arguments = start + FRAME_START.size
    if data[arguments : arguments + 4] != _DELIVER:
        return None
    kind, channel_number, _ = FRAME_START.unpack_from(data, start)
    header = frame_end(data, start)
    if kind != pika.spec.FRAME_METHOD or not _is_whole(data, header):
        return None
    content = frame_end(data, header)
    if not _is_whole(data, content):
        return None
    kind, number, _ = FRAME_START.unpack_from(data, header)
    if kind != pika.spec.FRAME_HEADER or number != channel_number:
        return None
    body_bytes: int = CONTENT_HEADER.unpack_from(data, header + FRAME_START.size)[2]
    body, end = b"", content
    if body_bytes:
        end = frame_end(data, content)
        if not _is_whole(data, end):
            return None
        kind, number, size = FRAME_START.unpack_from(data, content)
        if kind != pika.spec.FRAME_BODY or number != channel_number or size != body_bytes:
            return None  # in several frames, or not all there
        body = data[content + FRAME_START.size : end - _END_BYTES]
    properties = pika.BasicProperties()
    # By themselves, so that odd ones cannot reach into what follows.
    first = header + FRAME_START.size + CONTENT_HEADER.size
    properties.decode(data[first : content - _END_BYTES])
    return Delivered(channel_number, _read_method(data, arguments + 4), properties, body, end)


def _is_whole(data: bytes, end: int) -> bool:
    return end <= len(data) and data[end - 1] == _END


def _read_method(data: bytes, offset: int) -> pika.spec.Basic.Deliver:
    consumer_tag, offset = _read_short_string(data, offset)
    delivery_tag, bits = _TAG_AND_BITS.unpack_from(data, offset)
    exchange, offset = _read_short_string(data, offset + _TAG_AND_BITS.size)
    routing_key, _ = _read_short_string(data, offset)
    return pika.spec.Basic.Deliver(
        consumer_tag, delivery_tag, bool(bits & 1), exchange, routing_key
    )


def _read_short_string(data: bytes, offset: int) -> tuple[str | bytes, int]:
    end = offset + 1 + data[offset]
    value = data[offset + 1 : end]
    try:
        return value.decode("utf-8"), end
    except UnicodeDecodeError:
        return value, end  # as pika does


def publish_frames(
    channel_number: int,
    exchange: str,
    routing_key: str,
    properties: bytes,
    body: bytes,
    max_body_bytes: int,
) -> bytes:
    """A mandatory ``basic.publish`` with its content, of which a frame takes `max_body_bytes`.

    One piece of bytes, where pika makes an object and several pieces for each frame. `properties`
    are encoded already. Raises whatever pika raises for a routing key that it cannot write.
    """
    size = CONTENT_HEADER.size + len(properties)
    pieces = [
        _publish_method(channel_number, exchange, routing_key),
        FRAME_START.pack(pika.spec.FRAME_HEADER, channel_number, size),
        CONTENT_HEADER.pack(pika.BasicProperties.INDEX, 0, len(body)),
        properties,
        _END_MARK,
    ]
    for start in range(0, len(body), max_body_bytes):
        part = body[start : start + max_body_bytes]
        frame_start = FRAME_START.pack(pika.spec.FRAME_BODY, channel_number, len(part))
        pieces += (frame_start, part, _END_MARK)
    return b"".join(pieces)


def ack_frame(channel_number: int, tag: int, *, multiple: bool) -> bytes:
    """A ``basic.ack``."""
    return _ACK.pack(
        pika.spec.FRAME_METHOD,
        channel_number,
        _ACK.size - FRAME_START.size - _END_BYTES,
        pika.spec.Basic.Ack.INDEX,
        tag,
        multiple,
        _END,
    )


# A bound, for routing keys may hold ids.
@lru_cache(maxsize=1_000)
def _publish_method(channel_number: int, exchange: str, routing_key: str) -> bytes:
    method = pika.spec.Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=True)
    marshaled: bytes = pika.frame.Method(channel_number, method).marshal()
    return marshaled
