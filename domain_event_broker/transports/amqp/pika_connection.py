"""What pika's `SelectConnection` lacks: tolerance for foreign headers, TLS's reasons, abort, forks.

These reach into pika's private parts, all in this file; ``tests/unit/transports`` fails when a
new pika moves them.
"""

from __future__ import annotations

# Looking a host up imports it. Were that in the connection's thread, then a child forked at that
# moment would wait for ever for the import to end.
import encodings.idna  # noqa: F401
import logging
import math
import os
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeGuard

import pika.exceptions
import pika.frame
import pika.spec
from pika.adapters.select_connection import IOLoop, SelectConnection
from pika.channel import Channel

from ...messages import UNREADABLE_HEADERS, Message
from .frames import (
    CONTENT_HEADER,
    FRAME_START,
    ack_frame,
    frame_end,
    publish_frames,
    read_delivery,
)
from .wire import encode_properties

log = logging.getLogger(__name__)

# The broker sends something at least once in the time of a heartbeat, and mostly twice.
_SILENT_HEARTBEATS = 1.5
# It may be late by so much, as pika has it: with short heartbeats a busy one is.
_LATE_SECONDS = 5.0

# What pika raises for frames that it cannot read.
_UNREADABLE = (
    pika.exceptions.AMQPError,
    ArithmeticError,
    LookupError,
    RecursionError,
    OSError,
    TypeError,
    ValueError,
    struct.error,
)
#: How a record of TLS begins that says what is wrong.
_TLS_ALERT = b"\x15\x03"


class SpeaksTls(Exception):
    """The broker answered our plaintext greeting by TLS."""


def reason_of(error: ssl.SSLError) -> str:
    """OpenSSL's name of what is wrong, or an empty text."""
    return getattr(error, "reason", None) or ""


def is_alert(error: BaseException | None) -> TypeGuard[ssl.SSLError]:
    """Whether the other side said what is wrong with our TLS, before it ended it."""
    return isinstance(error, ssl.SSLError) and "ALERT_" in reason_of(error)


# So much is written at once. More would gain nothing, and be copied where the socket takes a part.
_WRITE_BYTES = 65_536
# Of pika's 4,096 a hundred small events would take a dozen calls of the system.
_READ_BYTES = 65_536


class Connection(SelectConnection):  # type: ignore[misc]  # pika is not typed through
    #: By `time.monotonic`, when something last came, be it a heartbeat.
    heard_at: float = math.inf
    #: Called when all that was there to be read is processed.
    after_reading: Callable[[], None] = staticmethod(lambda: None)
    #: Frames that wait to be written together, and their length.
    _gathered: list[bytes] | None = None
    _gathered_bytes: int = 0

    @contextmanager
    def writing_together(self) -> Iterator[None]:
        """Write what is sent in this context in few pieces.

        pika writes each frame by itself: three calls of the system for each message, and each lets
        another thread have the interpreter, which may keep it for five milliseconds.
        """
        if self._gathered is not None:
            yield
            return
        self._gathered = []
        try:
            yield
        finally:
            self._write_gathered()
            self._gathered = None

    def publish(
        self,
        channel: Channel,
        exchange: str,
        routing_key: str,
        message: Message,
    ) -> None:
        """As the channel's `basic_publish`, which must be open; mandatory.

        Raises before anything is written, all sorts of errors for what cannot be.
        """
        frames = publish_frames(
            channel.channel_number,
            exchange,
            routing_key,
            encode_properties(message, self.params.frame_max),
            message.body,
            self._body_max_length,
        )
        self._output_marshaled_frames([frames])

    def acknowledge(self, channel: Channel, tag: int, *, multiple: bool) -> None:
        """As the channel's `basic_ack`, which must be open."""
        self._output_marshaled_frames([ack_frame(channel.channel_number, tag, multiple=multiple)])

    def _output_marshaled_frames(self, marshaled_frames: Sequence[bytes]) -> None:
        data = b"".join(marshaled_frames)
        self.frames_sent += len(marshaled_frames)
        self.bytes_sent += len(data)
        if self._gathered is None:
            self._adapter_emit_data(data)
            return
        self._gathered.append(data)
        self._gathered_bytes += len(data)
        if self._gathered_bytes >= _WRITE_BYTES:
            self._write_gathered()

    def _write_gathered(self) -> None:
        if self._gathered and self._transport is not None:
            self._adapter_emit_data(b"".join(self._gathered))
        self._gathered, self._gathered_bytes = [], 0

    def _proto_connection_made(self, transport: Any) -> None:
        transport._MAX_RECV_BYTES = _READ_BYTES
        super()._proto_connection_made(transport)

    def _on_data_available(self, data_in: bytes) -> None:
        self.heard_at = time.monotonic()
        with self.writing_together():
            if self.is_open:
                self._process_frames(self._frame_buffer + data_in)
            else:
                super()._on_data_available(data_in)
        self.after_reading()

    def _process_frames(self, data: bytes) -> None:
        """As pika does, but without a copy of all the rest for each frame."""
        start = 0
        while self.is_open or self.is_closing:
            delivered_end = self._deliver(data, start)
            if delivered_end:
                start = delivered_end
                continue
            end = frame_end(data, start)
            if end > len(data):
                break
            self._frame_buffer = data[start:end]
            start = end
            consumed, frame = self._read_frame()
            self.bytes_received += consumed
            self._process_frame(frame)
        self._frame_buffer = data[start:]

    def _deliver(self, data: bytes, start: int) -> int:
        """Deliver what begins at `start` if it is a delivery; return its end, or else 0."""
        try:
            delivered = read_delivery(data, start)
        except _UNREADABLE:
            return 0  # to be read, and told of, frame by frame
        if delivered is None:
            return 0
        channel = self._channels.get(delivered.channel_number)
        tag = delivered.method.consumer_tag
        if channel is None or tag in channel._cancelled or tag not in channel._consumers:
            return 0
        self.frames_received += 2 + bool(delivered.body)
        self.bytes_received += delivered.end - start
        channel._consumers[tag](channel, delivered.method, delivered.properties, delivered.body)
        return delivered.end

    @property
    def is_silent(self) -> bool:
        """Whether heartbeats are missing."""
        silent_since = self.heard_at + _SILENT_HEARTBEATS * self._heartbeat_seconds
        return bool(self._heartbeat_seconds) and time.monotonic() > silent_since

    def seconds_until_dead(self) -> float | None:
        """How long until it is to be dropped, unless something comes; ``None`` if never."""
        heartbeat_seconds = self._heartbeat_seconds
        if not heartbeat_seconds:
            return None
        patience_seconds = max(
            _SILENT_HEARTBEATS * heartbeat_seconds, heartbeat_seconds + _LATE_SECONDS
        )
        return self.heard_at + patience_seconds - time.monotonic()

    @property
    def _heartbeat_seconds(self) -> int:
        return int(self.params.heartbeat or 0)  # as agreed with the broker

    def _read_frame(self) -> Any:
        """Read a frame; a header that pika cannot decode costs itself, not the connection.

        A timestamp header in milliseconds is enough: it is beyond `datetime`'s last year. Without
        this the connection breaks, the message comes again, and so on.
        """
        try:
            return super()._read_frame()
        except _UNREADABLE as error:
            return self._read_content_header(error)

    def _read_content_header(self, error: Exception) -> tuple[int, pika.frame.Header]:
        kind, channel_number, size = FRAME_START.unpack_from(self._frame_buffer)
        if kind != pika.spec.FRAME_HEADER:
            raise error
        _, _, body_size = CONTENT_HEADER.unpack_from(self._frame_buffer, FRAME_START.size)
        log.warning("A message's headers cannot be read (%s); they are dropped.", error)
        properties = pika.BasicProperties(headers={UNREADABLE_HEADERS: type(error).__name__})
        frame_end = FRAME_START.size + size + pika.spec.FRAME_END_SIZE
        return frame_end, pika.frame.Header(channel_number, body_size, properties)

    def _proto_connection_lost(self, error: BaseException | None) -> None:
        """Keep why TLS ended a connection that was being opened: pika makes a text of it."""
        reason = None if self._opened else self._tls_reason(error)
        if reason is None:
            super()._proto_connection_lost(error)
        else:
            self._transport = None
            self._on_stream_terminated(reason)

    def _tls_reason(self, error: BaseException | None) -> Exception | None:
        if self._frame_buffer.startswith(_TLS_ALERT):
            return SpeaksTls()
        sock = getattr(self._transport, "_sock", None)
        if isinstance(error, OSError) and isinstance(sock, ssl.SSLSocket) and not is_alert(error):
            # What broke may be our greeting, while the reason is still to be read.
            try:
                sock.recv(1)
            except OSError as told:
                error = told
        return error if is_alert(error) else None

    def abort(self, reason: str) -> None:
        """Drop the connection without a handshake, which a dead peer would never answer."""
        self._terminate_stream(pika.exceptions.StreamLostError(reason))


def cancel_keeping_deliveries(channel: Channel, consumer_tag: str, callback: Any) -> None:
    """Cancel a consumer; what is on its way still reaches the message callback.

    pika would reject it, which RabbitMQ 4.3 counts as a failed delivery.
    """
    channel.basic_cancel(consumer_tag, callback=callback)
    channel._cancelled.discard(consumer_tag)


def close_descriptors(connection: Connection | None, loop: IOLoop | None) -> None:
    """In a forked child: close our copies of the parent's descriptors, and only the copies.

    No shutdown, no TLS goodbye, nothing that the parent or the broker could notice. While a child
    keeps a copy open, the broker does not notice that the parent died.
    """
    transport = getattr(connection, "_transport", None)
    _close_socket(getattr(transport, "_sock", None))
    poller = getattr(loop, "_poller", None)
    for name in ("_r_interrupt", "_w_interrupt"):
        _close_socket(getattr(poller, name, None))
    selector: Any = getattr(poller, "_poll", None)
    if hasattr(selector, "close"):
        selector.close()


def _close_socket(sock: socket.socket | None) -> None:
    if sock is None or sock.fileno() < 0:
        return
    # Detached first: the object must not close the number again when it is collected, which by
    # then may be somebody else's.
    os.close(sock.detach())
