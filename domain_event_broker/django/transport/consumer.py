"""The consuming side: claims in batches, hands out one by one, settles in groups.

Whoever calls `receive` does the database's work, on its own connection: no other thread is in its
way, which matters where a database has one writer at a time. A second thread renews leases while a
handler takes long, and does what a caller could not wait for.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Container
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from django.db import connections
from django.db.utils import Error as DatabaseError

from ...errors import TransportClosed
from ...handling import now_ms
from ...messages import Message
from ...settings import Settings
from ...transports.base import Consumer, Delivery, Subscription, already_subscribed
from ..databases import translate, waiting_out_locks
from ..leases import LeaseKeeper, new_token
from ..models import QueuedMessage
from ..querysets import QueuedMessageQuerySet
from . import waking
from .batches import Batch
from .caution import Caution
from .due import DueQueues
from .queues import dead_letters_of, declare, keep, leave

log = logging.getLogger(__name__)
# Between looks for what is due, where nothing wakes us for what others publish.
_POLL_SECONDS = 0.05
# The same where something does: a net only.
_LISTENING_POLL_SECONDS = 1.0
_FAILURE_PAUSE_SECONDS = 1.0
_CLOSE_SECONDS = 1.0
# A claim that takes longer is one whose plan is wrong: PostgreSQL does not know yet how much waits,
# and sorts all of it. It is told so at most every so many seconds.
_SLOW_CLAIM_SECONDS = 0.05
_STATISTICS_SECONDS = 30.0


class _Move(NamedTuple):
    """A settlement other than "done": one update of the row, which its holder may make."""

    delivery: Delivery
    step: Callable[[QueuedMessageQuerySet], int]


class DatabaseConsumer(Consumer):
    """Receives for any number of subscriptions."""

    def __init__(self, settings: Settings, alias: str) -> None:
        self._settings = settings
        self._alias = alias
        self._token = new_token()
        self._changed = threading.Condition()
        # One thread at a time works on the database for us.
        self._working = threading.Lock()
        #: Queue id -> subscription; those whose turn is next come first.
        self._subscriptions: dict[int, Subscription] = {}
        self._passing: set[int] = set()
        self._buffer: deque[Delivery] = deque()
        #: What we hold a lease of, by row id; changed by who works on the database.
        self._held: dict[int, Delivery] = {}
        #: When these leases end, unless they are renewed, by `time.monotonic`.
        self._leases: dict[int, float] = {}
        #: Row ids, in order; a dict, since it is asked for each.
        self._acked: dict[int, None] = {}
        self._moves: deque[_Move] = deque()
        #: The last of each queue, and of each row that we hold.
        self._batches: dict[int, Batch] = {}
        self._batch_of: dict[int, Batch] = {}
        #: Belongs to who works on the database.
        self._due = DueQueues(alias)
        #: Queues that something was put into since they were claimed from.
        self._woken: set[int] = set()
        self._caution = Caution(settings.lease_seconds)
        self._statistics_at = -math.inf
        self._wants_statistics = False
        # By `time.monotonic`, when the lease of what is in the buffer ends, unless it is renewed.
        self._leased_until = 0.0
        self._is_started = self._is_closed = self._is_woken = self._is_failing = False
        # Callers of `receive` that wait, whom what is acknowledged gives something to do.
        self._idle = 0
        self._keeper = LeaseKeeper(
            self._tend, settings.lease_seconds, "domain-event-broker subscriber", self._say_goodbye
        )
        self._listener: waking.Listener | None = None

    def subscribe(self, subscription: Subscription) -> None:
        if self._is_closed:
            raise TransportClosed("This consumer is closed.")
        if any(subscription.name == each.name for each in self._subscriptions.values()):
            raise already_subscribed(subscription.name)
        settings = self._settings
        work = partial(
            declare,
            self._alias,
            settings.exchange,
            settings.exchange_type,
            subscription,
            self._token,
            settings.lease_seconds,
        )
        try:
            queue = waiting_out_locks(work)
        except DatabaseError as error:
            raise translate(error, self._alias) from error
        with self._changed:
            self._subscriptions[queue] = subscription
            self._batches[queue] = Batch()
            if not subscription.is_lasting:
                self._passing.add(queue)
                self._keeper.start()
        self.wake([queue])

    def start(self) -> None:
        if self._is_closed:
            raise TransportClosed("This consumer is closed.")
        if self._is_started:
            return
        self._is_started = True
        self._keeper.start()
        waking.register(self._alias, self)
        if waking.can_listen(connections[self._alias]):
            self._listener = waking.Listener(self._alias, self.wake)
            self._listener.start()

    def wake(self, queue_ids: Collection[int]) -> None:
        """Look into these queues at once, if they are ours. From any thread."""
        with self._changed:
            ours = self._subscriptions.keys() & queue_ids
            if ours:
                self._woken |= ours
                self._is_woken = True
                self._changed.notify_all()

    # Receiving

    def look_again(self) -> None:
        with self._changed:
            self._is_woken = True
            self._changed.notify_all()

    def holds(self, delivery: Delivery) -> bool:
        return self._is_open(delivery) and time.monotonic() < self._leases.get(delivery.token, 0.0)

    def receive(self, timeout_seconds: float, without: Container[str] = ()) -> Delivery | None:
        now = time.monotonic()
        deadline = now + timeout_seconds
        while self._is_started:
            if self._buffer and now < self._leased_until:
                # Without the lock, for each event: two threads never pop the same.
                with suppress(IndexError):
                    return self._buffer.popleft()
            with self._changed:
                self._is_woken = False
                if now >= self._leased_until:
                    self._give_back_buffer()  # we slept, and others may have them
            wait_seconds = self._refill(without, deadline)
            now = time.monotonic()
            remaining = deadline - now
            with self._changed:
                if self._buffer:
                    continue
                if remaining <= 0:
                    return None
                self._wait(min(wait_seconds, remaining))
        return None

    def _wait(self, seconds: float) -> None:
        """Wait until something is to be done; call it with `_changed`."""
        self._idle += 1
        # Looked at after that: who acknowledges now sees us wait, or else we see it here.
        has_news = self._is_woken or (bool(self._acked) and not self._is_failing)
        if self._is_started and not has_news:
            self._changed.wait(seconds)
        self._idle -= 1

    def _refill(self, without: Container[str], deadline: float) -> float:
        """Settle what is to be settled, and claim a batch; else tell how long to wait."""
        patience_seconds = min(max(deadline - time.monotonic(), 0.0), _POLL_SECONDS)
        if not self._working.acquire(timeout=patience_seconds):
            return 0.0  # another thread is at it
        try:
            self._settle_pending()
            return self._claim(without, deadline)
        except DatabaseError as error:
            self._note_failure(error)
            return _FAILURE_PAUSE_SECONDS
        finally:
            self._working.release()
            with self._changed:
                self._changed.notify_all()

    def _claim(self, without: Container[str], deadline: float) -> float:
        """Claim from what is known to be due, and ask what else is only where that is needed.

        To ask costs something for each queue; where the database wakes us, it tells of them.
        """
        with self._changed:
            self._due.add(self._woken)
            self._woken.clear()
        if self._caution.is_handling_one(self._held.values()):
            return self._poll_seconds
        is_told = self._listener is not None and time.monotonic() < min(self._due.ask_at, deadline)
        if time.monotonic() < self._due.ask_at and self._claim_from_one_of(without):
            return 0.0
        if is_told:
            self._due.ask_about_unsure()
        else:
            self._due.ask_about(self._subscriptions, self._poll_seconds)
            self._is_failing = False
        if self._claim_from_one_of(without):
            return 0.0
        return max(self._due.ask_at - time.monotonic(), 0.0)

    @property
    def _poll_seconds(self) -> float:
        return _POLL_SECONDS if self._listener is None else _LISTENING_POLL_SECONDS

    def _claim_from_one_of(self, without: Container[str]) -> bool:
        with_suspects = self._caution.may_claim_one(self._held)
        due = [q for q in self._due if self._subscriptions[q].name not in without]
        for queue in self._caution.narrow(due):
            # Turns, so that a busy handler leaves room for the others.
            subscription = self._subscriptions[queue] = self._subscriptions.pop(queue)
            self._due.remove(queue)
            if self._claim_from(queue, subscription, with_suspects):
                return True
            if not with_suspects and _rows(self._alias).begins_with_suspect(queue):
                self._caution.wait(queue)
                self._due.add([queue])
                return False
        self._caution.none_waits()
        return False

    def _claim_from(self, queue: int, subscription: Subscription, with_suspects: bool) -> bool:
        batch = self._batches[queue].following(subscription.prefetch(self._settings))
        claim = partial(
            _rows(self._alias).claim,
            queue,
            batch.size,
            self._token,
            self._settings.lease_seconds,
            with_suspects=with_suspects,
        )
        now = time.monotonic()
        leased_until = now + self._settings.lease_seconds
        rows = waiting_out_locks(claim)
        self._is_failing = False
        self._note_claim(time.monotonic() - now)
        batch.claimed(len(rows))
        deliveries = [Delivery(row.message, subscription, row.crashes, row.id) for row in rows]
        with self._changed:
            self._leased_until = (
                min(self._leased_until, leased_until) if self._buffer else leased_until
            )
            self._held.update((delivery.token, delivery) for delivery in deliveries)
            self._leases.update((delivery.token, leased_until) for delivery in deliveries)
            self._batch_of.update((delivery.token, batch) for delivery in deliveries)
            self._buffer.extend(deliveries)
            if not self._is_started:
                self._give_back_buffer()
        if rows:
            self._batches[queue] = batch
        if len(rows) == batch.size:
            self._due.add([queue])  # there may be more
        else:
            self._due.doubt(queue)
        if any(row.crashes for row in rows):
            self._caution.claimed()
        return bool(rows)

    def _note_claim(self, took_seconds: float) -> None:
        is_slow = took_seconds > _SLOW_CLAIM_SECONDS
        if is_slow and time.monotonic() > self._statistics_at + _STATISTICS_SECONDS:
            self._statistics_at = time.monotonic()
            self._wants_statistics = True
            self._keeper.kick()

    # Settling

    def ack(self, delivery: Delivery) -> None:
        if self._is_open(delivery):
            self._acked[delivery.token] = None
            if self._idle:
                self.look_again()

    def retry(self, delivery: Delivery, message: Message, due_at_ms: int) -> None:
        queue = self._queue_of(delivery)
        self._move(
            delivery,
            lambda row: row.move(queue, message, max((due_at_ms - now_ms()) / 1000, 0.0)),
        )

    def dead_letter(self, delivery: Delivery, message: Message) -> None:
        name = delivery.subscription.name
        self._move(delivery, lambda row: row.move(dead_letters_of(self._alias, name), message))

    def release(self, delivery: Delivery) -> None:
        self._move(delivery, lambda row: row.give_back())

    def waiting(self) -> int:
        try:
            return _rows(self._alias).due().filter(queue__in=list(self._subscriptions)).count()
        except DatabaseError as error:
            connections[self._alias].close()
            raise translate(error, self._alias) from error

    def _move(self, delivery: Delivery, step: Callable[[QueuedMessageQuerySet], int]) -> None:
        with self._changed:
            if not self._is_open(delivery):
                return
            self._moves.append(_Move(delivery, step))
            is_started = self._is_started
        if is_started:
            self._settle_now()
        else:  # not even who stops us waits for the database
            self._keeper.kick()

    def _is_open(self, delivery: Delivery) -> bool:
        """Whether it is ours to settle. What is settled is no more, once that is stored."""
        is_ours = not self._is_closed and self._held.get(delivery.token) is delivery
        return is_ours and delivery.token not in self._acked

    def _queue_of(self, delivery: Delivery) -> int:
        subscriptions = self._subscriptions.items()
        return next(queue for queue, each in subscriptions if each is delivery.subscription)

    def _settle_now(self) -> None:
        try:
            with self._working:
                self._settle_pending()
        except DatabaseError as error:
            self._note_failure(error)
        with self._changed:
            self._changed.notify_all()

    def _settle_pending(self) -> None:
        """Store what was decided; call it with `_working`.

        Raises the database's errors; what is not stored is kept.
        """
        while self._moves:
            delivery, step = self._moves[0]
            self._settle([delivery.token], step)
            self._moves.popleft()
            self._due.doubt(self._queue_of(delivery))
        if self._acked:
            acked = list(self._acked)
            self._settle(acked, lambda rows: rows.settle())
            for row_id in acked:
                del self._acked[row_id]
        with self._changed:
            self._changed.notify_all()

    def _settle(self, ids: list[int], step: Callable[[QueuedMessageQuerySet], int]) -> None:
        held: QueuedMessageQuerySet = _rows(self._alias).held_by(self._token, ids)
        count = waiting_out_locks(lambda: step(held))
        if count < len(ids):
            log.info(
                "%s: %d events were settled after their leases had ended; they come again.",
                self._held[ids[0]].subscription.name,
                len(ids) - count,
            )
        with self._changed:
            for row_id in ids:
                del self._held[row_id], self._leases[row_id]
                self._batch_of.pop(row_id).settled_one()

    def _has_pending(self) -> bool:
        return bool(self._moves or self._acked)

    # Ending

    def stop(self) -> None:
        with self._changed:
            if self._is_closed or not self._is_started:
                return
            self._is_started = False
            self._give_back_buffer()
            self._changed.notify_all()
        self._keeper.kick()

    def _give_back_buffer(self) -> None:
        with suppress(IndexError):  # a caller of `receive` takes without the lock
            while True:
                delivery = self._buffer.popleft()
                self._moves.append(_Move(delivery, lambda row: row.give_back()))

    def flush(self, timeout_seconds: float) -> bool:
        if not self._has_pending():
            return True
        if not self._keeper.is_running:
            self._settle_now()
        self._keeper.kick()
        with self._changed:
            return self._changed.wait_for(lambda: not self._has_pending(), timeout_seconds)

    def close(self, timeout_seconds: float = 5.0) -> None:
        if self._is_closed:
            return
        self.stop()
        deadline = time.monotonic() + timeout_seconds
        if not self.flush(timeout_seconds):
            log.warning("Not all is settled after %g s; the rest comes again.", timeout_seconds)
        self._is_closed = True
        if self._listener is not None:
            self._listener.stop()
        self._keeper.stop(max(deadline - time.monotonic(), _CLOSE_SECONDS))

    # In the keeper's thread

    def _tend(self) -> None:
        """Settle what could not be settled before, and say that we are still here."""
        with self._working:
            self._settle_pending()
        leased_until = time.monotonic() + self._settings.lease_seconds
        with self._changed:
            held, passing = list(self._held), list(self._passing)
        if held:
            _rows(self._alias).held_by(self._token, held).renew(self._settings.lease_seconds)
            with self._changed:
                self._leased_until = leased_until
                self._leases.update((each, leased_until) for each in held if each in self._leases)
        if passing:
            keep(self._alias, passing, self._settings.lease_seconds)
        if self._wants_statistics:
            self._wants_statistics = False
            _rows(self._alias).analyze()

    def _say_goodbye(self) -> None:
        if self._held:
            _rows(self._alias).held_by(self._token, list(self._held)).give_back()
        for queue in self._passing:
            waiting_out_locks(partial(leave, self._alias, queue))

    def _note_failure(self, error: DatabaseError) -> None:
        connections[self._alias].close()
        level = logging.INFO if self._is_failing else logging.WARNING
        self._is_failing = True
        log.log(level, "%s", translate(error, self._alias))


def _rows(alias: str) -> QueuedMessageQuerySet:
    rows: QueuedMessageQuerySet = QueuedMessage.objects.using(alias)
    return rows
