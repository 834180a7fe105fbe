"""`publish_domain_event` for projects with transactions: part of the one that is open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import publishing as core
from ..errors import SettingsError
from ..events import DomainEvent
from ..publishing import ConnectionSettings
from ..transports.base import PublishResult


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
    """Publish a fact as part of the current transaction, and return it as an event.

    The event is encoded now: its id, time and data are those of the call, and one that cannot be
    encoded or is too large fails here. It is stored in the outbox, a table of the same database, in
    the same transaction; outside of one, in its own. After the commit it is sent in the background,
    at once if the broker is there and else later: the caller never waits for the broker. If the
    transaction, or the savepoint around the call, rolls back, nothing is published.

    Without an outbox (``"OUTBOX": False``, or a broker in memory), the commit itself sends, and
    waits for the broker's confirm. A failure is then logged as an error and told by the signal
    `event_publish_failed`; neither the caller nor other commit hooks see it. Outside a transaction
    it is raised. ``DOMAIN_EVENT_BROKER = None`` sends nothing. With explicit `connection_settings`
    the event is published at once, in a transaction or not.

    :param using: alias of the database whose transaction the event belongs to. By default the one
        that has a transaction open, or else the one that the routers name for writing.

    The other parameters, and the errors, are those of `domain_event_broker.publish_domain_event`;
    besides, `UnclearTransaction` where autocommit was turned off by hand, or where it cannot be
    told which of several open transactions is meant; `MissingTables` before ``migrate``;
    `SettingsError` for `using` beside explicit `connection_settings`; and the database's own
    errors. Thread-safe, as Django's database connections are.
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

    What is stored, or waits for a commit, is `DEFERRED`; else the outcomes are the broker's.
    """
    # Models can be imported once Django knows its apps, of which this package is one.
    from .deferring import defer

    return defer(events, using)


def _check_no_alias(using: str | None, connection_settings: ConnectionSettings) -> None:
    if using is not None and connection_settings is not None:
        raise SettingsError(
            "Give using or connection_settings, not both: with connection_settings the event is "
            "published at once, whatever becomes of the transaction."
        )
