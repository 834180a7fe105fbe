"""Dead letters as lines of JSON: to keep, to look at elsewhere, and to bring back."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import IO, Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from ...errors import ReplayError
from ..databases import waiting_out_locks
from ..models import DeadLetter
from ..stored import to_message
from ..transactions import dead_letter_alias
from .selecting import Selection, waiting
from .stories import moment_of

_BATCH = 500
_SKIPPED = ("id", "body", "state", "settled_at", "settled_by", "collected_at")
_EXPORTED = [
    field.attname for field in DeadLetter._meta.concrete_fields if field.attname not in _SKIPPED
]
_NEEDED = {"identity", "handler", "properties", "body", "failed_at"}


class UnreadableLine(ReplayError, ValueError):
    """A line of a file is no exported dead letter."""


def export(
    selection: Selection,
    file: IO[str],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Write a line for each selected dead letter; return how many. Changes nothing.

    A line is an object of the table's columns. ``body`` is the event's JSON as text, where it is
    UTF-8, and else ``body_base64`` holds it.
    """
    rows = waiting(selection)
    total = rows.count() if selection.limit is None else min(rows.count(), selection.limit)
    done = 0
    for row in rows[: selection.limit].iterator(chunk_size=_BATCH):
        file.write(json.dumps(to_object(row), ensure_ascii=False) + "\n")
        done += 1
        on_progress(done, max(total, done))
    return done


def to_object(row: DeadLetter) -> dict[str, Any]:
    """What is exported of a row."""
    told = {name: getattr(row, name) for name in _EXPORTED}
    for name, value in told.items():
        if isinstance(value, datetime):
            told[name] = value.isoformat()
    body = bytes(row.body)
    try:
        told["body"] = body.decode("utf-8")
    except UnicodeDecodeError:
        told["body_base64"] = b64encode(body).decode("ascii")
    return told


def import_lines(lines: Iterable[str]) -> int:
    """Store exported dead letters, to wait again; return how many were not there yet.

    One that is in the table, in whatever state, stays as it is. All or none: raises
    `UnreadableLine`, which says where.
    """
    alias = dead_letter_alias()
    rows = [_to_row(line, number, alias) for number, line in enumerate(lines, 1) if line.strip()]

    def store() -> int:
        there = DeadLetter.objects.using(alias)
        with transaction.atomic(using=alias):
            before = there.count()
            there.bulk_create(rows, batch_size=_BATCH, ignore_conflicts=True)
            return int(there.count() - before)

    return waiting_out_locks(store)


def _to_row(line: str, number: int, alias: str) -> DeadLetter:
    try:
        return _checked(DeadLetter(**_columns(json.loads(line), alias)))
    except Exception as error:
        problem = _told(error)
    # Not raised there: a cause may quote the event's data.
    raise UnreadableLine(f"Line {number} is no exported dead letter: {problem}.")


def _columns(told: dict[str, Any], alias: str) -> dict[str, Any]:
    columns = dict(told)
    if "body_base64" in columns:
        columns["body"] = b64decode(columns.pop("body_base64"), validate=True)
    elif "body" in columns:
        columns["body"] = columns["body"].encode("utf-8")
    if missing := _NEEDED - columns.keys():
        raise _Wrong(f"it lacks {', '.join(sorted(missing))}")
    if columns.keys() - {*_EXPORTED, "body"}:
        raise _Wrong("it has other columns")
    for name in ("first_failed_at", "failed_at"):
        if columns.get(name) is not None:
            columns[name] = _moment(columns[name], alias)
    return columns


def _moment(text: str, alias: str) -> datetime:
    """The time as this project's columns hold it, which may be another than the exporter's."""
    moment = parse_datetime(text)
    if moment is None:
        raise _Wrong("a time cannot be read")
    if timezone.is_naive(moment):
        moment = timezone.make_aware(moment)
    return moment_of(round(moment.timestamp() * 1000), alias)


def _checked(row: DeadLetter) -> DeadLetter:
    """Raises this or that where no database can hold it, or nobody could replay it."""
    texts = [value for value in vars(row).values() if isinstance(value, str)]
    if any("\0" in text for text in texts):
        raise _Wrong("a text holds a NUL")
    "".join(texts).encode("utf-8")  # a lone surrogate has no UTF-8
    may_be_empty = {name for name in _EXPORTED if not getattr(row, name)} - _NEEDED
    row.clean_fields(exclude={*_SKIPPED, *may_be_empty})
    to_message(row.event_id, row.routing_key, row.body, row.properties)
    return row


class _Wrong(ValueError):
    """Its text quotes nothing."""


def _told(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"it is not JSON ({error.msg})"
    if isinstance(error, ValidationError):
        return f"wrong are {', '.join(sorted(error.message_dict))}"
    return str(error) if isinstance(error, _Wrong) else type(error).__name__
