"""What PostgreSQL and SQLite say differently, for the statements that the ORM cannot say."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, DateTimeField, Expression
from django.db.models.sql.compiler import SQLCompiler

from ..errors import ConfigurationError

# The first with RETURNING (https://www.sqlite.org/lang_returning.html).
_SQLITE = (3, 35)
_SQLITE_FORMAT = "'%%Y-%%m-%%d %%H:%%M:%%f'"


class UnsupportedDatabase(ConfigurationError):
    """The database's kind is none that outbox, inbox and database transport run on."""


def now_of(connection: BaseDatabaseWrapper) -> str:
    """SQL for the database's own time."""
    if connection.vendor == "postgresql":
        return "STATEMENT_TIMESTAMP()"
    if connection.vendor == "sqlite":
        return f"STRFTIME({_SQLITE_FORMAT}, 'now')"
    raise unsupported(connection)


def from_now(seconds: float, connection: BaseDatabaseWrapper) -> str:
    """SQL for so many seconds after `now_of`; a literal, which is cheaper than a parameter."""
    if connection.vendor == "postgresql":
        return f"STATEMENT_TIMESTAMP() + INTERVAL '{seconds:.3f} seconds'"
    if connection.vendor == "sqlite":
        return f"STRFTIME({_SQLITE_FORMAT}, 'now', '{seconds:+.3f} seconds')"
    raise unsupported(connection)


class FromNow(Expression):
    """`from_now` for the ORM."""

    output_field = DateTimeField()

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.seconds = seconds

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> Any:
        return from_now(self.seconds, connection), ()


class IdIn(Expression):
    """That a row's ``id`` is one of these: for hundreds, which as parameters take their time."""

    conditional = True
    output_field = BooleanField()

    def __init__(self, ids: Iterable[int]) -> None:
        super().__init__()
        self.ids = tuple(map(int, ids))

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> Any:
        return f"id IN ({', '.join(map(str, self.ids)) or 'NULL'})", ()


def seconds_until(column: str, connection: BaseDatabaseWrapper) -> str:
    """SQL for how many seconds from now the time in `column` is."""
    if connection.vendor == "postgresql":
        return f"EXTRACT(EPOCH FROM {column} - {now_of(connection)})::float8"
    return f"(JULIANDAY({column}) - JULIANDAY('now')) * 86400.0"


def skip_locked(connection: BaseDatabaseWrapper) -> str:
    """How a SELECT takes only what nobody else is claiming; SQLite has one writer at a time."""
    return " FOR UPDATE SKIP LOCKED" if connection.vendor == "postgresql" else ""


def chosen_by(subquery: str, connection: BaseDatabaseWrapper) -> str:
    """SQL that holds for rows whose ``id`` `subquery` selects.

    On PostgreSQL as an array, which is evaluated once: as a joined subquery, one with a LIMIT may
    be evaluated again and lock more rows than it says.
    """
    if connection.vendor == "postgresql":
        return f"id = ANY(ARRAY({subquery}))"
    return f"id IN ({subquery})"


def is_supported(connection: BaseDatabaseWrapper) -> bool:
    """Whether outbox, inbox and database transport run on it; connects to nothing."""
    if connection.vendor == "sqlite":
        return sqlite3.sqlite_version_info >= _SQLITE
    return connection.vendor == "postgresql"


def check_supported(connection: BaseDatabaseWrapper) -> None:
    """Raise `UnsupportedDatabase` unless it is."""
    if not is_supported(connection):
        raise unsupported(connection)


def unsupported(connection: BaseDatabaseWrapper) -> UnsupportedDatabase:
    if connection.vendor == "unknown":
        return UnsupportedDatabase(
            "DATABASES names no database; outbox, inbox and database transport need one. Set "
            "OUTBOX to False, and declare handlers with inbox=False."
        )
    if connection.vendor == "sqlite":
        return UnsupportedDatabase(
            f"SQLite {sqlite3.sqlite_version} is too old for outbox, inbox and database transport; "
            f"they need {'.'.join(map(str, _SQLITE))}. Use a Python that comes with it."
        )
    return UnsupportedDatabase(
        f"The database {connection.alias!r} is of the kind {connection.vendor!r}; outbox, inbox "
        "and database transport run on PostgreSQL and SQLite. Set OUTBOX to False and declare "
        "handlers with inbox=False, or name another database with using=."
    )
