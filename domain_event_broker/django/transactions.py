"""Which database's transaction an event belongs to."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from ..errors import ConfigurationError


class UnclearTransaction(ConfigurationError, transaction.TransactionManagementError):
    """It cannot be told which commit to wait for; say it with ``using``, or open `atomic`."""


def alias_to_write(using: str | None) -> str:
    """`using`, or the database with an open transaction, or else the one to write to.

    Raises `UnclearTransaction`. Asks no database.
    """
    return open_transaction(using) or using or outbox_alias()


def open_transaction(using: str | None) -> str | None:
    """Alias of the database whose commit is awaited, or ``None`` if no transaction is open.

    Raises `UnclearTransaction`. Asks no database: it works where there is none.
    """
    candidates = connections.all(initialized_only=True) if using is None else [connections[using]]
    opened = [connection for connection in candidates if _is_open(connection)]
    if not opened:
        return None
    connection = opened[0] if len(opened) == 1 else _preferred_of(opened)
    if not connection.in_atomic_block:
        raise UnclearTransaction(
            f"Autocommit is off on {connection.alias!r}, so that Django tells nobody of a commit; "
            "publish inside transaction.atomic()."
        )
    return connection.alias


def _preferred_of(opened: Sequence[BaseDatabaseWrapper]) -> BaseDatabaseWrapper:
    preferred = outbox_alias()
    for connection in opened:
        if connection.alias == preferred:
            return connection
    aliases = sorted(connection.alias for connection in opened)
    raise UnclearTransaction(
        f"Transactions are open on {', '.join(map(repr, aliases))}; "
        "say with using= whose commit the event waits for."
    )


def inbox_alias() -> str:
    """The database of the inbox, unless a handler names another one."""
    from .models import InboxEntry

    alias: str = router.db_for_write(InboxEntry)
    return alias


def dead_letter_alias() -> str:
    """The database of the dead letters."""
    from .models import DeadLetter

    alias: str = router.db_for_write(DeadLetter)
    return alias


def outbox_alias() -> str:
    """Where the project's routers want events to be written."""
    from .models import OutboxEvent  # not before Django knows its apps

    alias: str = router.db_for_write(OutboxEvent)
    return alias


def _is_open(connection: BaseDatabaseWrapper) -> bool:
    # `autocommit` is False, too, while there is no connection yet.
    is_manual = connection.connection is not None and not connection.autocommit
    return connection.in_atomic_block or is_manual
