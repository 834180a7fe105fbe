"""Publishing that waits for the transaction: encode now, send when it commits."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from .. import publishing as core
from ..errors import ConfigurationError, SettingsError
from ..events import DomainEvent
from ..messages import Message
from ..publishing import ConnectionSettings
from ..settings import Settings
from ..transports.base import Outcome, PublishResult
from . import conf

log = logging.getLogger(__name__)


class UnclearTransaction(ConfigurationError, transaction.TransactionManagementError):
    """It cannot be told which commit to wait for; say it with ``using``, or open `atomic`."""


def publish_domain_event(
    routing_key: str,
    data: Any,
    domain_object_id: str | int | None = None,
    uuid_string: str | None = None,
    timestamp: float | None = None,
    connection_settings: ConnectionSettings = "",
    *,
    using: str | None = None,
) -> DomainEvent:
    """Publish a fact when the transaction commits, and return it as an event.

    The event is encoded now: its id, time and data are those of the call, and one that cannot be
    encoded or is too large fails here. If the transaction, or the savepoint around the call, rolls
    back, nothing is published. A commit publishes in the order of the calls and waits for the
    broker's confirm; a failure then is logged as an error with the event's id, and neither the
    caller nor other commit hooks see it.

    Outside a transaction the event is published at once, and a failure is raised: nothing was
    committed that could disagree with it. ``DOMAIN_EVENT_BROKER = None`` sends nothing. With
    explicit `connection_settings` the event is published at once, in a transaction or not.

    :param using: alias of the database whose commit to wait for. By default the one that has a
        transaction open, which is ``"default"`` if several do.

    The other parameters, and the errors, are those of `domain_event_broker.publish_domain_event`;
    besides, `UnclearTransaction` where autocommit was turned off by hand, or where several
    databases other than ``"default"`` have a transaction open; `SettingsError` for `using` beside
    explicit `connection_settings`. Thread-safe, as Django's database connections are.
    """
    if connection_settings != "":
        _check_no_alias(using, connection_settings)
        return core.publish_domain_event(
            routing_key, data, domain_object_id, uuid_string, timestamp, connection_settings
        )
    event = DomainEvent(routing_key, data, domain_object_id, uuid_string, timestamp)
    for result in publish_events([event], using):
        if result.error is not None:
            raise result.error
    return event


#: The name in 3.x.
publish_on_commit = publish_domain_event


def publish_events(events: Sequence[DomainEvent], using: str | None = None) -> list[PublishResult]:
    """Publish to the default broker: what the core's functions do in a project with this app.

    In a transaction all outcomes are `DEFERRED`; outside, they are the broker's.
    """
    settings = conf.current()
    if settings is None:
        return core.publish_now(events, None)
    messages = core.encode_all(events, settings)
    alias = _open_transaction(using)
    if alias is None:
        return core.send(messages, settings)
    transaction.on_commit(partial(_send_committed, messages, settings), using=alias)
    return [PublishResult(Outcome.DEFERRED)] * len(messages)


def _send_committed(messages: Sequence[Message], settings: Settings) -> None:
    """Send what belongs to a transaction that is committed: there is nobody to raise to."""
    errors: Sequence[Exception | None]
    try:
        errors = [result.error for result in core.send(messages, settings)]
    except Exception as error:
        errors = [error] * len(messages)
    for message, failure in zip(messages, errors, strict=True):
        if failure is not None:
            log.error(
                "Event %s (%r) was committed but is not published: %s",
                message.message_id,
                message.routing_key,
                failure,
                exc_info=failure,
            )


def _check_no_alias(using: str | None, connection_settings: ConnectionSettings) -> None:
    if using is not None and connection_settings is not None:
        raise SettingsError(
            "Give using or connection_settings, not both: with connection_settings the event is "
            "published at once, whatever becomes of the transaction."
        )


def _open_transaction(using: str | None) -> str | None:
    """Alias of the database whose commit is awaited, or ``None`` if no transaction is open.

    Asks no database: publishing outside a transaction works where there is none.
    """
    candidates = connections.all(initialized_only=True) if using is None else [connections[using]]
    opened = {connection.alias: connection for connection in candidates if _is_open(connection)}
    if not opened:
        return None
    alias = DEFAULT_DB_ALIAS if DEFAULT_DB_ALIAS in opened else next(iter(opened))
    if len(opened) > 1 and alias != DEFAULT_DB_ALIAS:
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


def _is_open(connection: BaseDatabaseWrapper) -> bool:
    # `autocommit` is False, too, while there is no connection yet.
    is_manual = connection.connection is not None and not connection.autocommit
    return connection.in_atomic_block or is_manual
