"""Telling consumers that something waits: in this process, and by NOTIFY on PostgreSQL.

A hint and no more: consumers look by themselves, too, and what a hint misses waits for that.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Collection
from functools import cache
from inspect import signature
from typing import Any

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

log = logging.getLogger(__name__)

CHANNEL = "domain_event_broker"
# How long the listening connection waits before it looks whether it should end.
_LISTEN_SECONDS = 0.5
_RECONNECT_SECONDS = 5.0

#: Called with the ids of queues that something was put into.
Wake = Callable[[Collection[int]], None]

_wakers: dict[str, weakref.WeakSet[Any]] = {}
_wakers_lock = threading.Lock()


def notify(alias: str, queue_ids: Collection[int]) -> None:
    """Wake the consumers of these queues, in any process, when the open transaction commits."""
    connection = connections[alias]
    if can_listen(connection):
        marks = ", ".join(["(%s)"] * len(queue_ids))
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT pg_notify('{CHANNEL}', id::text) FROM (VALUES {marks}) AS queue(id)",
                list(queue_ids),
            )
    if alias in _wakers:
        transaction.on_commit(lambda: _wake_local(alias, queue_ids), using=alias)


def _wake_local(alias: str, queue_ids: Collection[int]) -> None:
    with _wakers_lock:
        consumers = list(_wakers[alias])
    for consumer in consumers:
        consumer.wake(queue_ids)


def register(alias: str, consumer: Any) -> None:
    """Have `consumer.wake` called for what this process puts into queues of `alias`."""
    with _wakers_lock:
        _wakers.setdefault(alias, weakref.WeakSet()).add(consumer)


def can_listen(connection: BaseDatabaseWrapper) -> bool:
    """Whether the database wakes its consumers: PostgreSQL through psycopg 3.2 or later."""
    return connection.vendor == "postgresql" and _can_wait_for_notifies()


@cache
def _can_wait_for_notifies() -> bool:
    from django.db.backends.postgresql.psycopg_any import is_psycopg3

    if not is_psycopg3:
        return False
    from psycopg import Connection

    return "timeout" in signature(Connection.notifies).parameters


class Listener:
    """Listens on a connection of its own, in a thread, and calls `wake` for what it hears."""

    def __init__(self, alias: str, wake: Wake) -> None:
        self._alias = alias
        self._wake = wake
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="domain-event-broker listener", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(2 * _LISTEN_SECONDS)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._listen()
            except Exception as error:
                log.info("Not listening on %r for now; it is polled: %s", self._alias, error)
                self._stop.wait(_RECONNECT_SECONDS)

    def _listen(self) -> None:
        # Not this thread's own connection of Django: nobody else is to use one that listens.
        connection = connections[self._alias].copy()
        try:
            connection.connect()
            connection.cursor().execute(f"LISTEN {CHANNEL}")
            raw: Any = connection.connection
            while not self._stop.is_set():
                for heard in raw.notifies(timeout=_LISTEN_SECONDS):
                    self._wake([int(heard.payload)])
        finally:
            connection.close()
