"""From the dead-letter queues into the table: the row is written first, then the letter goes.

A queue cannot be looked into without hiding or rotating what is in it, and has no random access;
a table can. Whoever dies in between has written a row that the next collector finds there.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import chain
from uuid import uuid4

from django.db import OperationalError, connections, transaction
from django.db.utils import Error as DatabaseError

from ...errors import (
    BrokerUnavailable,
    ConfigurationError,
    DomainEventBrokerError,
    TransportError,
    UnknownQueue,
)
from ...settings import Settings
from ...transports import transport_for
from ...transports.base import DeadLetter as Taken
from ..databases import check_tables, is_missing_table, translate, waiting_out_locks
from ..forking import gate
from ..models import DeadLetter
from ..transactions import dead_letter_alias
from .retention import expire
from .stories import names_itself, to_row

log = logging.getLogger(__name__)

_BATCH = 500
# Between looks into all queues; what fails here is collected sooner.
_LOOK_SECONDS = 60.0
_LOOK_AGAIN_SECONDS = 5.0
# A failure is seldom alone: what follows is collected with it.
_GATHER_SECONDS = 0.5


def collect(
    handler_name: str,
    settings: Settings,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    is_stopping: Callable[[], bool] = lambda: False,
) -> int:
    """Move a handler's dead letters from its queue into the table; return how many there were.

    None, where the handler never ran. Any number may collect at once. Raises `TransportError`,
    `MissingTables`, and the database's errors; what is not in the table then is in the queue.
    """
    alias = dead_letter_alias()
    done = 0
    try:
        box = transport_for(settings).dead_letters(handler_name)
    except UnknownQueue:
        return 0
    with box:
        total = box.count()
        while not is_stopping() and (taken := box.take(_BATCH)):
            stored = _store(handler_name, taken, alias)
            for letter in stored:
                box.discard(letter)
            done += len(stored)
            on_progress(done, max(total, done))
    return done


def _store(handler_name: str, taken: Sequence[Taken], alias: str) -> list[Taken]:
    """Write a row for each; return those that have one. The others are no reason to wait."""
    rows: list[DeadLetter] = []
    foreign: list[DeadLetter] = []
    stored: list[Taken] = []
    for letter in taken:
        try:
            row = to_row(handler_name, letter.message, alias)
        except (ValueError, RecursionError) as error:  # such as headers nested without end
            log.error(
                "A dead letter of %s stays in its queue, since no table can hold it: %r",
                handler_name,
                error,
            )
            continue
        stored.append(letter)
        rows.append(row)
        if not names_itself(letter.message):
            foreign.append(row)
    _write(rows, foreign, alias)
    return stored


def _write(rows: Sequence[DeadLetter], foreign: Sequence[DeadLetter], alias: str) -> None:
    try:
        waiting_out_locks(lambda: _insert(rows, foreign, alias))
    except DatabaseError as error:
        connections[alias].close_if_unusable_or_obsolete()
        if is_missing_table(error):
            raise translate(error, alias) from error
        raise


def _insert(rows: Sequence[DeadLetter], foreign: Sequence[DeadLetter], alias: str) -> None:
    with transaction.atomic(using=alias):
        _rename_those_settled(foreign, alias)
        # Those of a collector that died before it removed them are there already.
        DeadLetter.objects.using(alias).bulk_create(rows, ignore_conflicts=True)


def _rename_those_settled(foreign: Iterable[DeadLetter], alias: str) -> None:
    """Nothing but its contents names what others dead-lettered; after a replay it may come again.

    What was settled is then another failure.
    """
    identities = [row.identity for row in foreign]
    if not identities:
        return
    there = DeadLetter.objects.using(alias).filter(identity__in=identities)
    settled = set(there.exclude(state=DeadLetter.State.WAITING).values_list("identity", flat=True))
    for row in foreign:
        if row.identity in settled:
            row.identity = f"{row.identity}:{uuid4().hex}"


def has_table() -> bool:
    """Whether there is a table to collect into, or may be: its database may be away just now."""
    try:
        check_tables(dead_letter_alias(), DeadLetter)
    except ConfigurationError as error:
        log.info("Dead letters stay in their queues: %s", error)
        return False
    except BrokerUnavailable:
        pass
    return True


class CollectorThread:
    """Collects beside something else: all queues now and then, and at once what is told of."""

    def __init__(self, settings: Settings, handler_names: Collection[str]) -> None:
        self._settings = settings
        self._names = tuple(handler_names)
        self._changed = threading.Condition()
        self._told: set[str] = set()
        self._had_some: set[str] = set()
        self._is_stopping = False
        self._thread = threading.Thread(
            target=self._run, name="domain-event-broker dead letters", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def tell(self, handler_name: str) -> None:
        """There is a dead letter of this handler. May be called from any thread."""
        with self._changed:
            self._told.add(handler_name)
            self._had_some.add(handler_name)
            self._changed.notify()

    def stop(self, timeout_seconds: float) -> None:
        """Ask it to end, and wait so long at most."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)

    def _run(self) -> None:
        try:
            left = self._collect(self._names)
            self._expire()
            while told := self._wait(_LOOK_AGAIN_SECONDS if left else _LOOK_SECONDS):
                left = self._collect(_each_once(left, told))
                if told is self._names:
                    self._expire()
            # What failed at the very end; and what came to its queue after it was told of.
            self._collect(_each_once(left, self._had_some))
        finally:
            connections.close_all()

    def _wait(self, seconds: float) -> Collection[str]:
        """Whose dead letters to collect next: of those told of, or after so long, of all.

        Nobody's once it is to end.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._told or self._is_stopping, seconds):
                return self._names
            if self._changed.wait_for(lambda: self._is_stopping, _GATHER_SECONDS):
                return ()
            told, self._told = self._told, set()
        return told

    def _expire(self) -> None:
        try:
            with gate.inside():
                expire(self._settings)
        except DatabaseError as error:
            log.warning("Old dead letters are kept for now: %s", error)
        finally:
            connections.close_all()

    def _collect(self, names: Collection[str]) -> Sequence[str]:
        """Collect the dead letters of these; return those of whom some may be left."""
        left: list[str] = []
        for number, name in enumerate(names):
            try:
                with gate.inside():
                    collect(name, self._settings)
            except (TransportError, OperationalError) as error:  # so it is for all
                log.warning("The dead letters of %s wait in their queue: %s", name, error)
                left += list(names)[number:]
                break
            except Exception as error:
                is_known = isinstance(error, DomainEventBrokerError | DatabaseError)
                log.warning(
                    "The dead letters of %s wait in their queue: %s",
                    name,
                    error,
                    exc_info=not is_known,
                )
                left.append(name)
        if names:
            connections.close_all()  # seldom used, so not worth keeping
        return left


def _each_once(*names: Iterable[str]) -> Sequence[str]:
    return list(dict.fromkeys(chain(*names)))
