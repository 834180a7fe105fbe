"""Dead letters as text for people: in lines, and in full. Payloads as ``REDACT_PAYLOAD`` says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from ...errors import UnreadableEvent
from ...events import read_fields
from ...handling import now_ms
from ...redacting import redacted
from ...settings import Settings
from ..models import DeadLetter
from ..transactions import dead_letter_alias
from .groups import Group
from .stories import moment_of

_MAX_LINE_CHARACTERS = 160
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def line(row: DeadLetter) -> str:
    """One line: id, age, handler, routing key, attempts, and what failed."""
    attempts = "" if row.attempts is None else f" after {row.attempts} attempt(s)"
    told = (
        f"{row.pk}  {age(row.failed_at)} ago  {row.handler}  {row.routing_key}{attempts}: "
        f"{failure(row.reason, row.error_type)}"
    )
    message = " ".join(row.error_message.split())
    return one_line(f"{told}: {message}" if message else told)


def group_line(group: Group) -> str:
    """One line: how many, of which handler, what failed and where, and for how long."""
    place = f" at {group.error_place}" if group.error_place else ""
    return one_line(
        f"{group.count}  {group.handler}  {failure(group.reason, group.error_type)}{place}  "
        f"(from {age(group.first_failed_at)} to {age(group.last_failed_at)} ago, "
        f"such as {group.example})"
    )


def in_full(row: DeadLetter, settings: Settings | None) -> Iterator[str]:
    """All that is known, in lines."""
    yield line(row)
    yield printable(f"  event       {row.event_id}")
    yield f"  failed      {row.failed_at} (first: {row.first_failed_at or 'not known'})"
    if row.error_place:
        yield printable(f"  raised at   {row.error_place}")
    if row.host:
        process = f"process {row.process_id} on {row.host} {row.app_version}".rstrip()
        yield printable(f"  by          {process}")
    yield printable(f"  payload     {payload(row, settings)}")
    if row.traceback:
        yield ""
        yield from (printable(f"  {each}") for each in row.traceback.splitlines())


def payload(row: DeadLetter, settings: Settings | None) -> str:
    """The event's data as JSON, redacted; or why it cannot be read."""
    data = data_of(row, settings)
    return data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, default=str)


def data_of(row: DeadLetter, settings: Settings | None) -> Any:
    """The event's data, redacted; a text where it cannot be read, or shown as JSON."""
    try:
        data = read_fields(bytes(row.body)).get("data", {})
    except UnreadableEvent as error:
        return f"({error})"
    data = redacted(settings, row.routing_key, data)
    try:
        json.dumps(data, default=str)
    except (TypeError, ValueError, RecursionError) as error:
        return f"(it cannot be shown: {type(error).__name__})"
    return data


def failure(reason: str, error_type: str) -> str:
    return f"{error_type} ({reason})" if error_type and reason else error_type or reason or "?"


def age(moment: datetime) -> str:
    """How long ago, in the largest unit that fits."""
    now = moment_of(now_ms(), dead_letter_alias())
    seconds = max((now - moment).total_seconds(), 0.0)
    for length, unit in _UNITS:
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def one_line(text: str) -> str:
    told = printable(text)
    return told if len(told) <= _MAX_LINE_CHARACTERS else f"{told[: _MAX_LINE_CHARACTERS - 3]}..."


def printable(text: str) -> str:
    """Without escape sequences: what failed may be a stranger's, and this is a terminal."""
    return "".join(each if each.isprintable() else " " for each in text)
