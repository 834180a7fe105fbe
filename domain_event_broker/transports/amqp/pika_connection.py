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
from typing import Any, TypeGuard

import pika.exceptions
import pika.frame
import pika.spec
from pika.adapters.select_connection import IOLoop, SelectConnection
from pika.channel import Channel

from ...messages import UNREADABLE_HEADERS

log = logging.getLogger(__name__)

# The broker sends something at least once in the time of a heartbeat, and mostly twice.
_SILENT_HEARTBEATS = 1.5

_FRAME_START = struct.Struct(">BHL")
_CONTENT_HEADER = struct.Struct(">HHQ")
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


class Connection(SelectConnection):  # type: ignore[misc]  # pika is not typed through
    #: By `time.monotonic`, when something last came, be it a heartbeat.
    heard_at: float = math.inf

    def _on_data_available(self, data_in: bytes) -> None:
        self.heard_at = time.monotonic()
        super()._on_data_available(data_in)

    @property
    def is_silent(self) -> bool:
        """Whether heartbeats are missing. pika drops the connection only much later."""
        heartbeat_seconds = self.params.heartbeat  # as agreed with the broker
        silent_since = self.heard_at + _SILENT_HEARTBEATS * heartbeat_seconds
        return bool(heartbeat_seconds) and time.monotonic() > silent_since

    def _read_frame(self) -> Any:
        """Read a frame; a header that pika cannot decode costs itself, not the connection.

        A timestamp header in milliseconds is enough: it is beyond `datetime`'s last year. Without
        this the connection breaks, the message comes again, and so on.
        """
        try:
            return super()._read_frame()
        except (pika.exceptions.AMQPError, ArithmeticError, LookupError, RecursionError,
                OSError, TypeError, ValueError, struct.error) as error:  # fmt: skip
            return self._read_content_header(error)

    def _read_content_header(self, error: Exception) -> tuple[int, pika.frame.Header]:
        kind, channel_number, size = _FRAME_START.unpack_from(self._frame_buffer)
        if kind != pika.spec.FRAME_HEADER:
            raise error
        _, _, body_size = _CONTENT_HEADER.unpack_from(self._frame_buffer, _FRAME_START.size)
        log.warning("A message's headers cannot be read (%s); they are dropped.", error)
        properties = pika.BasicProperties(headers={UNREADABLE_HEADERS: type(error).__name__})
        frame_end = _FRAME_START.size + size + pika.spec.FRAME_END_SIZE
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
