"""Deciding on dead letters: have them handled again, or not."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from django.db import connections, transaction

from ...messages import Message
from ...settings import Settings
from ...transports import transport_for
from ...transports.base import Outcome, Transport, no_queue
from ..databases import waiting_out_locks
from ..deferring import store
from ..models import DeadLetter
from ..querysets import DeadLetterQuerySet
from ..signals import event_replayed
from ..stored import shown
from ..transactions import dead_letter_alias
from ..transport import DatabaseTransport
from .selecting import Selection, count, waiting
from .stories import to_replay

log = logging.getLogger(__name__)

_BATCH = 500

#: Called with how many are decided on, of how many.
OnProgress = Callable[[int, int], None]


@dataclass(slots=True)
class Decided:
    """What a decision on a selection came to."""

    count: int = 0
    #: Handlers whose dead letters stay, since they have no queue.
    without_queue: set[str] = field(default_factory=set)
    #: Ids of what was replayed.
    replayed: set[int] = field(default_factory=set, repr=False, compare=False)


def replay(
    selection: Selection,
    settings: Settings,
    by: str,
    on_progress: OnProgress = lambda done, total: None,
    is_stopping: Callable[[], bool] = lambda: False,
) -> Decided:
    """Have the selected dead letters handled again: each by its own handler, under its own id.

    The oldest first, in batches. Each batch is one transaction: the rows are marked with who did
    it, and the events are in the outbox, or in the handler's queue where that is a table of the
    same database. So each is replayed by one of those who try at once. Those that fail again
    meanwhile are left. Raises the database's errors.

    :param by: who does it; it is noted in the row and in the event's headers.
    """
    alias = dead_letter_alias()
    decided = Decided()

    def decide(rows: Sequence[DeadLetter]) -> int:
        return _replay(rows, settings, shown(by), alias, decided)

    return _decide(selection, alias, decide, decided, on_progress, is_stopping)


def note_returned(decided: Decided) -> None:
    """After replays were sent: count those no more that wait again, for lack of a queue."""
    alias = dead_letter_alias()
    replayed = sorted(decided.replayed)
    for start in range(0, len(replayed), _BATCH):
        returned = _of_ids(replayed[start : start + _BATCH], alias).waiting()
        handlers = list(returned.values_list("handler", flat=True))
        decided.count -= len(handlers)
        decided.without_queue |= set(handlers)


def discard(
    selection: Selection,
    by: str,
    on_progress: OnProgress = lambda done, total: None,
    is_stopping: Callable[[], bool] = lambda: False,
) -> Decided:
    """Note that somebody decided against handling the selected dead letters.

    The rows stay for `prune_domain_events`, or `purge`. Raises the database's errors.
    """
    alias = dead_letter_alias()

    def decide(rows: Sequence[DeadLetter]) -> int:
        return _these(rows, alias).settle(DeadLetter.State.DISCARDED, shown(by))

    return _decide(selection, alias, decide, Decided(), on_progress, is_stopping)


def purge(
    selection: Selection,
    on_progress: OnProgress = lambda done, total: None,
    is_stopping: Callable[[], bool] = lambda: False,
) -> Decided:
    """Delete the selected dead letters for good. Raises the database's errors."""
    alias = dead_letter_alias()

    def decide(rows: Sequence[DeadLetter]) -> int:
        return _these(rows, alias).remove()

    return _decide(selection, alias, decide, Decided(), on_progress, is_stopping)


def _decide(
    selection: Selection,
    alias: str,
    decide: Callable[[Sequence[DeadLetter]], int],
    decided: Decided,
    on_progress: OnProgress,
    is_stopping: Callable[[], bool],
) -> Decided:
    total = count(selection, alias)
    looked_at = 0
    for ids in _batches(selection, alias):
        if is_stopping():
            break
        settled = waiting_out_locks(partial(_decide_batch, ids, alias, decide))
        decided.count += settled  # not in one step: a commit hook may have changed it meanwhile
        looked_at += len(ids)
        on_progress(looked_at, max(total, looked_at))
    return decided


def _batches(selection: Selection, alias: str) -> Iterator[list[int]]:
    """Ids of what is there now, in order; what fails again meanwhile comes behind the last."""
    rows = waiting(selection, alias)
    last = rows.order_by("-pk").values_list("pk", flat=True).first()
    left = selection.limit
    begin = 0
    while last is not None and left != 0:
        size = _BATCH if left is None else min(_BATCH, left)
        ids = list(rows.filter(pk__gt=begin, pk__lte=last).values_list("pk", flat=True)[:size])
        if not ids:
            return
        yield ids
        begin = ids[-1]
        left = None if left is None else left - len(ids)


def _decide_batch(
    ids: Sequence[int], alias: str, decide: Callable[[Sequence[DeadLetter]], int]
) -> int:
    with transaction.atomic(using=alias):
        rows = _of_ids(ids, alias).waiting().order_by("pk")
        if connections[alias].features.has_select_for_update_skip_locked:
            rows = rows.select_for_update(skip_locked=True)
        return decide(list(rows))


def _of_ids(ids: Sequence[int], alias: str) -> DeadLetterQuerySet:
    rows: DeadLetterQuerySet = DeadLetter.objects.using(alias).filter(pk__in=ids)
    return rows


def _these(rows: Sequence[DeadLetter], alias: str) -> DeadLetterQuerySet:
    return _of_ids([row.pk for row in rows], alias)


def _replay(
    rows: Sequence[DeadLetter], settings: Settings, by: str, alias: str, decided: Decided
) -> int:
    of_handler: dict[str, list[DeadLetter]] = defaultdict(list)
    for row in rows:
        of_handler[row.handler].append(row)
    replays: list[_Replay] = []
    for handler_name, theirs in of_handler.items():
        replay = _Replay(handler_name, theirs, [to_replay(row, by) for row in theirs])
        if _put_into_queue(replay, settings, alias, decided):
            replays.append(replay)
        else:
            _stay(replay, decided)
    replayed = [row for replay in replays for row in replay.rows]
    decided.replayed |= {row.pk for row in replayed}
    settled = _these(replayed, alias).settle(DeadLetter.State.REPLAYED, by)
    transaction.on_commit(lambda: _tell(replays, by), using=alias)
    return settled


@dataclass(slots=True)
class _Replay:
    """Dead letters of one handler, and what is made of them."""

    handler: str
    rows: Sequence[DeadLetter]
    messages: Sequence[Message]


def _stay(replay: _Replay, decided: Decided) -> None:
    decided.without_queue.add(replay.handler)
    log.error("%s The dead letters stay.", no_queue(replay.handler))


def _put_into_queue(replay: _Replay, settings: Settings, alias: str, decided: Decided) -> bool:
    """Put the messages where the commit sends them from; false if the handler has no queue."""
    transport = transport_for(settings)
    if isinstance(transport, DatabaseTransport) and transport.alias == alias:
        results = transport.enqueue_for(replay.handler, replay.messages)
        return all(result.outcome is Outcome.CONFIRMED for result in results)
    if transport.capabilities.persistent:
        store(replay.messages, settings, alias, replay.handler)
    else:
        # The queues end with this process, as would the one to send them.
        send = partial(_send_now, replay, transport, alias, decided)
        transaction.on_commit(send, using=alias)
    return True


def _send_now(replay: _Replay, transport: Transport, alias: str, decided: Decided) -> None:
    timeout_seconds = transport.settings.publish_timeout_seconds
    results = transport.requeue(replay.handler, replay.messages, timeout_seconds)
    pairs = list(zip(replay.rows, results, strict=True))
    replay.rows = [row for row, result in pairs if result.outcome is Outcome.CONFIRMED]
    left = [row for row, result in pairs if result.outcome is not Outcome.CONFIRMED]
    if left:
        decided.count -= waiting_out_locks(_these(left, alias).restore)
        decided.replayed -= {row.pk for row in left}
        _stay(replay, decided)


def _tell(replays: Sequence[_Replay], by: str) -> None:
    for row in (row for replay in replays for row in replay.rows):
        event_replayed.send_robust(
            sender=DeadLetter,
            handler=row.handler,
            event_id=row.event_id,
            routing_key=row.routing_key,
            by=by,
        )
