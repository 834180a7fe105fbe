"""`Message`: what a transport carries, an encoded event with its properties and headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: What a message carries of AMQP's properties: the fields of `Message` under the same names.
PROPERTIES = (
    "message_id",
    "timestamp",
    "content_type",
    "content_encoding",
    "correlation_id",
    "app_id",
    "type",
    "reply_to",
    "priority",
)

#: Our headers. They do not begin with ``x-``, which belongs to the broker.
PREFIX = "deb-"
#: Integer: how many runs of the handler ended in a retry.
RETRIES = "deb-retries"
#: Integer: milliseconds since the epoch before which a retry must not run.
DUE_AT_MS = "deb-due-at-ms"
#: String: the routing key that the event was published with, on copies for one queue.
ROUTING_KEY = "deb-routing-key"
#: String: id of the event whose handling published this one.
CAUSATION_ID = "deb-causation-id"
#: A dead letter's story.
REASON = "deb-reason"
ERROR_TYPE = "deb-error-type"
ERROR_MESSAGE = "deb-error-message"
HANDLER = "deb-handler"
FAILED_AT_MS = "deb-failed-at-ms"
#: What a replay removes, so that the event starts anew.
DELIVERY_HEADERS = frozenset(
    {RETRIES, DUE_AT_MS, REASON, ERROR_TYPE, ERROR_MESSAGE, HANDLER, FAILED_AT_MS}
)


@dataclass(frozen=True, slots=True)
class Message:
    """An encoded event. Properties are those of AMQP 0-9-1's basic class, under their names.

    `routing_key` is the event's own, also while a copy is on its way to one handler's queue.
    Headers that we write are flat strings and integers; those of others may hold anything.
    """

    routing_key: str
    body: bytes = field(repr=False)
    message_id: str | None = None
    timestamp: int | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    correlation_id: str | None = None
    app_id: str | None = None
    type: str | None = None
    reply_to: str | None = None
    priority: int | None = None
    headers: Mapping[str, Any] = field(default_factory=dict, repr=False)
