"""Which databases the app's tables are in, and whether one is there."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.db import (
    DEFAULT_DB_ALIAS,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    connections,
    router,
)
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from django.db.utils import Error as DatabaseError

from ..errors import BrokerUnavailable, ConfigurationError, DomainEventBrokerError
from .dialects import check_supported, is_supported

log = logging.getLogger(__name__)

T = TypeVar("T")

# PostgreSQL's: undefined_table and undefined_column.
_MISSING_CODES = ("42P01", "42703")
# The same: connection exceptions, and a server that ends connections. What libpq notices by itself
# has no code.
_LOST_CODES = ("08", "57P01", "57P02", "57P03", "57P05")
#: SQLite's lock is waited for so long by those whom nobody waits for.
LOCKED_SECONDS = 30.0
# What is tried again when SQLite is locked waits so long between attempts.
_LOCKED_PAUSE_SECONDS = 0.02


class MissingTables(ConfigurationError):
    """The app's tables are not in the database; also where only some are."""


def aliases_with(model: type[Model]) -> list[str]:
    """The databases that migrations may have put the table of `model` into."""
    return [
        alias
        for alias in connections
        if is_supported(connections[alias]) and router.allow_migrate_model(alias, model)
    ]


def check_tables(alias: str, *models: type[Model]) -> None:
    """Raise `MissingTables` or `UnsupportedDatabase`; `BrokerUnavailable` where it is away.

    Asks the database.
    """
    connection = connections[alias]
    check_supported(connection)
    try:
        with connection.cursor() as cursor:
            there = set(connection.introspection.table_names(cursor))
    except DatabaseError as error:
        connection.close()
        raise translate(error, alias) from error
    missing = sorted({model._meta.db_table for model in models} - there)
    if missing:
        which = "" if alias == DEFAULT_DB_ALIAS else f" --database {alias}"
        raise MissingTables(
            f"The database {alias!r} has no table {', '.join(missing)}; run "
            f"`python manage.py migrate{which}` (where database routers must allow it)."
        )


@contextmanager
def translated(alias: str) -> Iterator[None]:
    """Raise what `translate` makes of the database's errors in the block."""
    try:
        yield
    except DatabaseError as error:
        raise translate(error, alias) from error


def translate(error: DatabaseError, alias: str) -> DomainEventBrokerError:
    """Our error for one of the database's, with it as its ``__cause__``."""
    translated: DomainEventBrokerError
    if is_missing_table(error):
        translated = MissingTables(
            f"The database {alias!r} lacks a table of domain_event_broker: {one_line(error)}; "
            "run `python manage.py migrate`."
        )
    else:
        translated = BrokerUnavailable(f"The database {alias!r}: {one_line(error)}")
    translated.__cause__ = error
    return translated


def is_missing_table(error: DatabaseError) -> bool:
    # Not by PostgreSQL's texts: they may be in any language, and say the same of a database.
    if isinstance(error, ProgrammingError):
        cause = error.__cause__
        code = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
        return code in _MISSING_CODES
    return isinstance(error, OperationalError) and "no such table" in str(error)


def is_locked(error: DatabaseError) -> bool:
    """Whether another connection writes to the SQLite database, for longer than was waited."""
    return isinstance(error, OperationalError) and "is locked" in str(error)


def waiting_out_locks(work: Callable[[], T], timeout_seconds: float = LOCKED_SECONDS) -> T:
    """What `work` returns; called again while SQLite says that the database is locked.

    For work that is a transaction of its own. In one that began with a read, SQLite says so at
    once and does not wait as it is told to.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            return work()
        except OperationalError as error:
            if not is_locked(error) or time.monotonic() >= deadline:
                raise
        time.sleep(_LOCKED_PAUSE_SECONDS)


def lost_connections() -> list[BaseDatabaseWrapper]:
    """The connections of this thread that broke: their databases may be away."""
    return [each for each in connections.all(initialized_only=True) if _is_lost(each)]


def _is_lost(connection: BaseDatabaseWrapper) -> bool:
    if not connection.errors_occurred:
        return False
    return connection.connection is None or not connection.is_usable()


def is_of_lost_connection(error: DatabaseError) -> bool:
    """Whether the error tells of a connection that broke, on PostgreSQL.

    It may have been replaced since: where the database is back already, the end of `atomic` opens
    a new one, of which nothing is wrong.
    """
    cause = error.__cause__
    if not (isinstance(error, OperationalError) and _has_code(cause)):
        return False
    code = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    return code is None or code.startswith(_LOST_CODES)


def _has_code(error: BaseException | None) -> bool:
    return hasattr(error, "sqlstate") or hasattr(error, "pgcode")


def is_there(connection: BaseDatabaseWrapper) -> bool:
    """Whether the database can be reached, now, on a new connection if it takes one."""
    try:
        connection.close()
        connection.ensure_connection()
    except (OperationalError, InterfaceError):
        return False
    return True


def one_line(error: BaseException) -> str:
    """The error's text, which may have several."""
    return " ".join(str(error).split())
