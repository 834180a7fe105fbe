"""The inbox: a handler and the note that it handled an event, in one transaction.

What is promised is that the *database's* part of a handler happens once. A copy of an event, such
as one that was sent twice because a confirm was lost, finds the note and is done.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from hashlib import sha256

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.constants import OnConflict

from ..events import DomainEvent
from ..handling import AlreadyHandled, Handler
from .dialects import check_supported
from .models import InboxEntry


def once_per_event(function: Handler, handler_name: str, alias: str) -> Handler:
    """`function`, run in a transaction of the database `alias` with the note that it ran.

    Raises `AlreadyHandled` instead of running it again for the same event. Where two copies come
    at once, the second waits for the first one's transaction, and runs only if that rolls back.
    """

    @wraps(function)
    def handle(event: DomainEvent) -> None:
        identity = event.uuid_string
        with transaction.atomic(using=alias):
            if not record(handler_name, identity, alias):
                raise AlreadyHandled
            function(event)

    return handle


def record(handler_name: str, event_id: str, alias: str) -> bool:
    """Note in the open transaction that the handler takes the event; false if it did before."""
    connection = connections[alias]
    with connection.cursor() as cursor:
        cursor.execute(_insertion(connection.vendor, alias), (handler_name, key(event_id)))
        return bool(cursor.rowcount == 1)


def key(event_id: str) -> str:
    """What stands for an event's id: itself, unless a database might not store it."""
    if "\0" in event_id:
        return f"sha256:{sha256(event_id.encode('utf-8')).hexdigest()}"
    return event_id


@lru_cache
def _insertion(vendor: str, alias: str) -> str:
    connection: BaseDatabaseWrapper = connections[alias]
    check_supported(connection)
    quote: Callable[[str], str] = connection.ops.quote_name
    begin = connection.ops.insert_statement(on_conflict=OnConflict.IGNORE)
    end = connection.ops.on_conflict_suffix_sql([], OnConflict.IGNORE, [], [])
    table = quote(InboxEntry._meta.db_table)
    return f"{begin} {table} ({quote('handler')}, {quote('event_id')}) VALUES (%s, %s) {end}"
