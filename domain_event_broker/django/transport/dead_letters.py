"""Looking into a queue of dead letters: what is taken is leased, and given back at the end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from django.db import connections
from django.db.utils import Error as DatabaseError

from ...errors import TransportClosed, UnknownQueue
from ...messages import Message
from ...names import dead_letter_queue
from ...settings import Settings
from ...transports.base import DeadLetter, DeadLetters, no_queue
from ..databases import translate, waiting_out_locks
from ..leases import LeaseKeeper, new_token
from ..models import QueuedMessage
from ..querysets import QueuedMessageQuerySet
from . import waking
from .queues import find_queue

T = TypeVar("T")


class DatabaseDeadLetters(DeadLetters):
    """A look into the dead letters of one handler."""

    def __init__(self, settings: Settings, alias: str, handler_name: str) -> None:
        self._lease_seconds = settings.lease_seconds
        self._alias = alias
        self._handler_name = handler_name
        self._token = new_token()
        self._taken: dict[int, DeadLetter] = {}
        self._is_closed = False
        queue = self._work(partial(find_queue, alias, dead_letter_queue(handler_name)))
        if queue is None:
            raise UnknownQueue(f"The handler {handler_name!r} has no dead-letter queue.")
        self._queue: int = queue
        # However long somebody thinks about them.
        self._keeper = LeaseKeeper(
            self._renew, self._lease_seconds, "domain-event-broker dead letters"
        )

    def take(self, limit: int) -> list[DeadLetter]:
        self._keeper.start()
        taken: list[DeadLetter] = []
        # Several claims where some are suspect, since a look that died held them.
        while len(taken) < limit:
            claim = partial(
                self._rows.claim, self._queue, limit - len(taken), self._token, self._lease_seconds
            )
            rows = self._work(claim)
            if not rows:
                break
            taken += [DeadLetter(row.message, row.id) for row in rows]
            self._taken.update((letter.token, letter) for letter in taken)
        return taken

    def replay(self, dead_letter: DeadLetter, message: Message) -> None:
        queue = self._work(partial(find_queue, self._alias, self._handler_name))
        if queue is None:
            raise no_queue(self._handler_name)
        self._decide(dead_letter, lambda row: row.move(queue, message))
        waking.notify(self._alias, [queue])

    def discard(self, dead_letter: DeadLetter) -> None:
        self._decide(dead_letter, lambda row: row.settle())

    def count(self) -> int:
        return self._work(self._rows.due().filter(queue=self._queue).count)

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._keeper.stop(timeout_seconds=self._lease_seconds)
        if self._taken:
            self._work(self._held(list(self._taken)).give_back)
            self._taken.clear()

    def _decide(
        self, dead_letter: DeadLetter, step: Callable[[QueuedMessageQuerySet], int]
    ) -> None:
        del self._taken[dead_letter.token]
        if not self._work(lambda: step(self._held([dead_letter.token]))):
            raise TransportClosed("The look's hold on the dead letter ended; look again.")

    def _held(self, ids: list[int]) -> QueuedMessageQuerySet:
        return self._rows.held_by(self._token, ids)

    def _renew(self) -> None:
        if self._taken:
            self._held(list(self._taken)).renew(self._lease_seconds)

    @property
    def _rows(self) -> QueuedMessageQuerySet:
        rows: QueuedMessageQuerySet = QueuedMessage.objects.using(self._alias)
        return rows

    def _work(self, work: Callable[[], T]) -> T:
        try:
            return waiting_out_locks(work)
        except DatabaseError as error:
            connections[self._alias].close()
            raise translate(error, self._alias) from error
