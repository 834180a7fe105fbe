"""Which dead letters somebody means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Q

from ...routing import matches
from ..models import DeadLetter
from ..querysets import DeadLetterQuerySet
from ..transactions import dead_letter_alias


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Of the dead letters that wait, those of which all that is given here is true."""

    #: Names of handlers.
    handlers: Sequence[str] = ()
    #: Ids of dead letters; also of events, where both are given each counts.
    ids: Sequence[int] = ()
    event_ids: Sequence[str] = ()
    #: A pattern of routing keys, with ``*`` for one word and ``#`` for any number.
    routing_key: str | None = None
    #: The exception's class: its full dotted name, or the last part.
    error: str | None = None
    #: What stands in the exception's message, in upper or lower case.
    text: str | None = None
    #: How long ago the last failure was, at least, and less than.
    older_than_seconds: float | None = None
    newer_than_seconds: float | None = None
    #: Those behind the dead letter with this id, of a list that goes on.
    after: int | None = None
    #: The oldest so many.
    limit: int | None = None


def waiting(selection: Selection, alias: str | None = None) -> DeadLetterQuerySet:
    """The rows, the oldest first; `Selection.limit` is left to the caller. Changes nothing."""
    alias = alias or dead_letter_alias()
    rows: DeadLetterQuerySet = DeadLetter.objects.using(alias).waiting().order_by("pk")
    if selection.handlers:
        rows = rows.filter(handler__in=selection.handlers)
    if selection.ids or selection.event_ids:
        rows = rows.filter(Q(pk__in=selection.ids) | Q(event_id__in=selection.event_ids))
    if selection.after is not None:
        rows = rows.filter(pk__gt=selection.after)
    if selection.routing_key is not None:
        # There are few keys, and many rows: what the pattern means is decided once for each key.
        keys = rows.order_by().values_list("routing_key", flat=True).distinct()
        pattern = selection.routing_key
        rows = rows.filter(routing_key__in=[key for key in keys if matches(pattern, key)])
    if selection.error is not None:
        rows = rows.of_error(selection.error)
    if selection.text is not None:
        rows = rows.filter(error_message__icontains=selection.text)
    if selection.older_than_seconds is not None:
        rows = rows.older_than(selection.older_than_seconds)
    if selection.newer_than_seconds is not None:
        rows = rows.newer_than(selection.newer_than_seconds)
    return rows


def count(selection: Selection, alias: str | None = None) -> int:
    """How many there are. Changes nothing."""
    there: int = waiting(selection, alias).count()
    return there if selection.limit is None else min(there, selection.limit)
