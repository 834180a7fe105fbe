"""`Message`: what a transport carries, an encoded event with its properties and headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from .values import value

#: What a message carries of AMQP's properties: fields of `Message`, in its order.
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
#: Integer: when handling failed for the first time, in milliseconds since the epoch.
FIRST_FAILED_AT_MS = "deb-first-failed-at-ms"
#: String: which error made those of another program unreadable, of which nothing else is left.
UNREADABLE_HEADERS = "deb-unreadable-headers"
#: A dead letter's story, which ``docs/reference/wire.md`` tells. This names it among all.
DEAD_LETTER_ID = "deb-dead-letter-id"
REASON = "deb-reason"
ERROR_TYPE = "deb-error-type"
ERROR_MESSAGE = "deb-error-message"
ERROR_PLACE = "deb-error-place"
ERROR_TRACEBACK = "deb-error-traceback"
HANDLER = "deb-handler"
ATTEMPTS = "deb-attempts"
FAILED_AT_MS = "deb-failed-at-ms"
HOST = "deb-host"
PROCESS_ID = "deb-process-id"
APP_VERSION = "deb-app-version"
#: What a replay removes, so that the event starts anew.
DELIVERY_HEADERS = frozenset(
    {
        RETRIES,
        DUE_AT_MS,
        FIRST_FAILED_AT_MS,
        DEAD_LETTER_ID,
        REASON,
        ERROR_TYPE,
        ERROR_MESSAGE,
        ERROR_PLACE,
        ERROR_TRACEBACK,
        HANDLER,
        ATTEMPTS,
        FAILED_AT_MS,
        HOST,
        PROCESS_ID,
        APP_VERSION,
    }
)
#: What a replay adds: when, in milliseconds since the epoch, and by whom.
REPLAYED_AT_MS = "deb-replayed-at-ms"
REPLAYED_BY = "deb-replayed-by"


@value
class Message:
    """An encoded event. Properties are those of AMQP 0-9-1's basic class, under their names.

    `routing_key` is the event's own, also while a copy is on its way to one handler's queue.
    Headers that we write are flat strings and integers; those of others may hold anything.
    """

    routing_key: str
    body: bytes = field(repr=False)
    headers: Mapping[str, Any] = field(default_factory=dict, repr=False)
    message_id: str | None = None
    timestamp: int | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    correlation_id: str | None = None
    app_id: str | None = None
    type: str | None = None
    reply_to: str | None = None
    priority: int | None = None
