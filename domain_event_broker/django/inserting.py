"""Into the tables, by as few and as cheap statements as there can be: this is in every request.

So there is no query set here, and the text of a statement is made once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper as Wrapper

from ..messages import Message
from .dialects import from_now, now_of
from .models import OutboxEvent, QueuedMessage
from .stored import to_columns

#: Rows in one INSERT: below the number of parameters that any SQLite takes.
ROWS_PER_STATEMENT = 500

# Neither the tables' names nor the columns' need quotes on any database.
_OUTBOX_COLUMNS = "event_id, routing_key, body, properties, lease_token, handler, due_at"
_QUEUE_COLUMNS = "event_id, routing_key, body, properties, queue_id, due_at"


def write_to_outbox(
    messages: Sequence[Message],
    token: str,
    lease_seconds: float,
    connection: Wrapper,
    handler_name: str = "",
) -> list[int]:
    """Store `messages`, leased to `token`, as part of the current transaction.

    Return their ids, in order. Outside a transaction up to 500 are stored in one statement,
    together or not at all; for more, open one.

    :param handler_name: the one handler that they are for, of replays.
    """
    rows = [(*to_columns(message), token, handler_name) for message in messages]
    due_at = from_now(lease_seconds, connection)
    return _insert(OutboxEvent._meta.db_table, _OUTBOX_COLUMNS, due_at, rows, connection)


def write_to_queues(rows: Sequence[tuple[int, Message]], connection: Wrapper) -> None:
    """Put each message into the queue with that id, as part of the current transaction."""
    values = [(*to_columns(message), queue_id) for queue_id, message in rows]
    due_at = now_of(connection)
    _insert(QueuedMessage._meta.db_table, _QUEUE_COLUMNS, due_at, values, connection)


def _insert(
    table: str, columns: str, due_at: str, rows: Sequence[Sequence[Any]], connection: Wrapper
) -> list[int]:
    ids: list[int] = []
    with connection.cursor() as cursor:
        for start in range(0, len(rows), ROWS_PER_STATEMENT):
            chunk = rows[start : start + ROWS_PER_STATEMENT]
            statement = _statement(table, columns, due_at, len(chunk))
            cursor.execute(statement, [value for row in chunk for value in row])
            ids += sorted(row_id for (row_id,) in cursor.fetchall())
    return ids


@lru_cache(maxsize=16)
def _statement(table: str, columns: str, due_at: str, count: int) -> str:
    marks = "%s, " * columns.count(",")
    values = ", ".join([f"({marks}{due_at})"] * count)
    return f"INSERT INTO {table} ({columns}) VALUES {values} RETURNING id"
