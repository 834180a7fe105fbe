"""Which database's transaction an event belongs to."""

from __future__ import annotations

from django.db import connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from ..errors import ConfigurationError


class UnclearTransaction(ConfigurationError, transaction.TransactionManagementError):
    """It cannot be told which commit to wait for; say it with ``using``, or open `atomic`."""


def alias_to_write(using: str | None) -> str:
    """`using`, or the database with an open transaction, or else the one to write to.

    Raises `UnclearTransaction`. Asks no database.
    """
    return open_transaction(using) or using or _preferred()


def open_transaction(using: str | None) -> str | None:
    """Alias of the database whose commit is awaited, or ``None`` if no transaction is open.

    Raises `UnclearTransaction`. Asks no database: it works where there is none.
    """
    candidates = connections.all(initialized_only=True) if using is None else [connections[using]]
    opened = {connection.alias: connection for connection in candidates if _is_open(connection)}
    if not opened:
        return None
    alias = _preferred() if _preferred() in opened else next(iter(opened))
    if len(opened) > 1 and alias != _preferred():
        raise UnclearTransaction(
            f"Transactions are open on {', '.join(map(repr, sorted(opened)))}; "
            "say with using= whose commit the event waits for."
        )
    if not opened[alias].in_atomic_block:
        raise UnclearTransaction(
            f"Autocommit is off on {alias!r}, so that Django tells nobody of a commit; "
            "publish inside transaction.atomic()."
        )
    return alias


def inbox_alias() -> str:
    """The database of the inbox, unless a handler names another one."""
    from .models import InboxEntry

    alias: str = router.db_for_write(InboxEntry)
    return alias


def _preferred() -> str:
    """Where the project's routers want events to be written."""
    from .models import OutboxEvent  # not before Django knows its apps

    alias: str = router.db_for_write(OutboxEvent)
    return alias


def _is_open(connection: BaseDatabaseWrapper) -> bool:
    # `autocommit` is False, too, while there is no connection yet.
    is_manual = connection.connection is not None and not connection.autocommit
    return connection.in_atomic_block or is_manual
