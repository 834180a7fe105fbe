"""Removing what is settled and old enough, in batches that hold no lock for long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet

from .databases import waiting_out_locks
from .dialects import FromNow
from .models import DeadLetter, InboxEntry, Queue, QueuedMessage
from .transport.queues import drop_expired, expired_queues

#: Longer than the longest delay of a retry (30 days), with room for copies that a broker kept.
DEFAULT_RETENTION_DAYS = 45
DAY_SECONDS = 24 * 3600
BATCH = 1_000


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed from one database, or would be."""

    alias: str
    inbox_entries: int
    #: Queues that went with a consumer that died, with the messages in them.
    queues: int
    #: Messages whose queue was deleted while they were published.
    messages: int
    #: That were replayed or discarded.
    dead_letters: int


def prune(
    alias: str,
    retention_days: float,
    *,
    is_dry_run: bool = False,
    on_progress: Callable[[int], None] = lambda count: None,
    is_stopping: Callable[[], bool] = lambda: False,
) -> Pruned:
    """Remove what is older than the retention, and what consumers that died left behind.

    Old are inbox entries, and dead letters by when they were replayed or discarded.

    Safe beside running subscribers, and to be broken off: each batch is a transaction of its own.
    Raises the database's errors.
    """
    old, settled = old_entries(alias, retention_days), settled_letters(alias, retention_days)
    if is_dry_run:
        return Pruned(
            alias,
            inbox_entries=old.count(),
            queues=expired_queues(alias).count(),
            messages=orphans(alias).count(),
            dead_letters=settled.count(),
        )
    entries = 0
    for count in _delete_batches(old):
        entries += count
        on_progress(entries)
        if is_stopping():
            break
    return Pruned(
        alias,
        inbox_entries=entries,
        queues=waiting_out_locks(lambda: drop_expired(alias)),
        messages=waiting_out_locks(orphans(alias).delete)[0],
        dead_letters=sum(_delete_batches(settled)),
    )


def settled_letters(alias: str, retention_days: float) -> QuerySet[DeadLetter]:
    limit = FromNow(-retention_days * DAY_SECONDS)
    return DeadLetter.objects.using(alias).filter(settled_at__lt=limit)


def old_entries(alias: str, retention_days: float) -> QuerySet[InboxEntry]:
    limit = FromNow(-retention_days * DAY_SECONDS)
    return InboxEntry.objects.using(alias).filter(handled_at__lt=limit)


def orphans(alias: str) -> QuerySet[QueuedMessage]:
    queues = Queue.objects.using(alias).filter(pk=OuterRef("queue_id"))
    return QueuedMessage.objects.using(alias).filter(~Exists(queues))


def _delete_batches(old: QuerySet[Any]) -> Iterator[int]:
    while True:
        # By id, which is the order of handling: the old ones are found without an index of times.
        ids = list(old.order_by("pk").values_list("pk", flat=True)[:BATCH])
        if ids:
            rows = old.model._default_manager.using(old.db).filter(pk__in=ids)
            yield waiting_out_locks(rows.delete)[0]
        if len(ids) < BATCH:
            return
