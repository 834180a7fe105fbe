"""Dead letters that nobody decides on, where the settings say how long, or how many, are kept."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from django.db.models import Count

from ...settings import Settings
from ..databases import waiting_out_locks
from ..models import DeadLetter
from ..querysets import DeadLetterQuerySet
from ..transactions import dead_letter_alias

log = logging.getLogger(__name__)

_BATCH = 1_000
_DAY_SECONDS = 24 * 3600


def expire(settings: Settings) -> int:
    """Delete what `settings` keep no longer, of all handlers, and log how many of which.

    By default nothing: what failed waits for somebody. Return how many. Raises the database's
    errors.
    """
    deleted = 0
    for rows in _expired(settings, dead_letter_alias()):
        while kinds := _delete_batch(rows):
            for handler, error_type, number in kinds:
                log.warning(
                    "%d dead letters of %s (%s) are deleted: they are older or more than the "
                    "settings keep.",
                    number,
                    handler,
                    error_type or "?",
                )
                deleted += number
    return deleted


def _expired(settings: Settings, alias: str) -> Iterator[DeadLetterQuerySet]:
    waiting: DeadLetterQuerySet = DeadLetter.objects.using(alias).waiting()
    if settings.dead_letter_retention_days is not None:
        yield waiting.older_than(settings.dead_letter_retention_days * _DAY_SECONDS)
    most = settings.dead_letter_retention_count
    if most is not None:
        for handler in waiting.values_list("handler", flat=True).distinct():
            theirs = waiting.filter(handler=handler)
            first_too_many = theirs.order_by("-pk").values_list("pk", flat=True)[most : most + 1]
            for pk in first_too_many:
                yield theirs.filter(pk__lte=pk)


def _delete_batch(rows: DeadLetterQuerySet) -> list[tuple[str, str, int]]:
    """Delete some; tell of which kinds, and how many of each."""

    def delete() -> list[tuple[str, str, int]]:
        ids = list(rows.order_by("pk").values_list("pk", flat=True)[:_BATCH])
        chosen: DeadLetterQuerySet = DeadLetter.objects.using(rows.db).filter(pk__in=ids).waiting()
        kinds = list(chosen.values_list("handler", "error_type").annotate(Count("pk")))
        chosen.remove()
        return kinds

    return waiting_out_locks(delete)
