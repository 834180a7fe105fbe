"""Failures of a kind: the same handler, the same exception, raised in the same place."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Max, Min

from .selecting import Selection, waiting


@dataclass(frozen=True, slots=True)
class Group:
    """Dead letters that failed alike."""

    handler: str
    reason: str
    error_type: str
    error_place: str
    count: int
    #: The first and the last of their last failures.
    first_failed_at: datetime
    last_failed_at: datetime
    #: Id of the oldest of them.
    example: int


def groups(selection: Selection, alias: str | None = None) -> list[Group]:
    """The kinds of failures, the most frequent first; `limit` counts kinds. Changes nothing."""
    kinds = (
        waiting(selection, alias)
        .order_by()
        .values("handler", "reason", "error_type", "error_place")
        .annotate(
            count=Count("pk"),
            first_failed_at=Min("failed_at"),
            last_failed_at=Max("failed_at"),
            example=Min("pk"),
        )
        .order_by("-count", "example")[: selection.limit]
    )
    return [Group(**kind) for kind in kinds]
