"""From a dead letter as the broker has it to a row, and from a row back to a message."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from django.conf import settings as django_settings
from django.db import connections
from django.utils import timezone

from ... import messages
from ...handling import now_ms, restarted
from ...messages import Message
from ..models import DeadLetter
from ..stored import shown, to_columns, to_message

_MAX_TEXT_CHARACTERS = 20_000


def to_row(handler_name: str, message: Message, alias: str) -> DeadLetter:
    """A row that is not saved. What other programs wrote may hold anything, or nothing."""
    headers = message.headers
    failed_at = _time(headers.get(messages.FAILED_AT_MS), alias)
    if failed_at is None:
        failed_at = moment_of(now_ms(), alias)
    return DeadLetter(
        identity=identity_of(handler_name, message),
        handler=handler_name,
        reason=_short(headers, messages.REASON),
        error_type=_short(headers, messages.ERROR_TYPE),
        error_message=_text(headers, messages.ERROR_MESSAGE),
        error_place=_short(headers, messages.ERROR_PLACE),
        traceback=_text(headers, messages.ERROR_TRACEBACK),
        attempts=_count(headers, messages.ATTEMPTS),
        first_failed_at=_time(headers.get(messages.FIRST_FAILED_AT_MS), alias),
        host=_short(headers, messages.HOST),
        process_id=_count(headers, messages.PROCESS_ID),
        failed_at=failed_at,
        app_version=_short(headers, messages.APP_VERSION),
        **to_columns(restarted(message))._asdict(),
    )


def names_itself(message: Message) -> bool:
    """Whether the failure that brought it here was given an id.

    A replay carries the id of an earlier one, without the rest of the story: whoever rejects it
    and is none of us leaves that where it is.
    """
    identity = message.headers.get(messages.DEAD_LETTER_ID)
    return isinstance(identity, str) and identity != "" and messages.REASON in message.headers


def identity_of(handler_name: str, message: Message) -> str:
    """What tells this failure from all others.

    Where another program dead-lettered the event, a digest of all that it says: of copies that
    are equal in everything, one is kept.
    """
    if names_itself(message):
        return shown(message.headers[messages.DEAD_LETTER_ID])
    told = (handler_name, message.routing_key, message.message_id, repr(sorted_items(message)))
    digest = sha256(message.body)
    digest.update(json.dumps(told).encode())
    return f"sha256:{digest.hexdigest()}"


def sorted_items(message: Message) -> list[tuple[str, str]]:
    return sorted((str(key), repr(value)) for key, value in message.headers.items())


def to_replay(row: DeadLetter, by: str) -> Message:
    """The message that starts anew, marked as replayed."""
    message = to_message(row.event_id, row.routing_key, row.body, row.properties)
    marks = {
        messages.DEAD_LETTER_ID: row.identity,
        messages.REPLAYED_AT_MS: now_ms(),
        messages.REPLAYED_BY: shown(by),
    }
    return replace(message, headers={**message.headers, **marks})


def _short(headers: Mapping[str, Any], name: str) -> str:
    value = headers.get(name)
    return shown(value) if isinstance(value, str) else ""


def _text(headers: Mapping[str, Any], name: str) -> str:
    value = headers.get(name)
    return shown(value, _MAX_TEXT_CHARACTERS) if isinstance(value, str) else ""


def _count(headers: Mapping[str, Any], name: str) -> int | None:
    value = headers.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31:
        return value
    return None


def _time(milliseconds: object, alias: str) -> datetime | None:
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int):
        return None
    try:
        return moment_of(milliseconds, alias)
    except (OverflowError, OSError, ValueError):  # somebody's nonsense
        return None


def moment_of(milliseconds: int, alias: str) -> datetime:
    """Milliseconds since the epoch, as a column of that database holds them."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    if django_settings.USE_TZ:
        return moment
    # As the database's own clock tells it, which on SQLite is in UTC.
    zone = UTC if connections[alias].vendor == "sqlite" else timezone.get_default_timezone()
    return timezone.make_naive(moment, zone)
