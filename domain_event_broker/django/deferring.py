"""What becomes of an event until its transaction commits, and at once when it has."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from functools import partial

from django.db import connections, transaction
from django.db.utils import Error as DatabaseError

from .. import publishing as core
from ..events import DomainEvent
from ..messages import Message
from ..settings import Settings
from ..transports import transport_for
from ..transports.base import Outcome, PublishResult
from ..values import value
from . import background, conf
from .background import Committed
from .capturing import capturing
from .databases import is_missing_table, translate
from .dialects import check_supported
from .inserting import ROWS_PER_STATEMENT, write_to_outbox
from .querysets import OutboxRow
from .signals import event_publish_failed, is_told_published, tell_published
from .transactions import alias_to_write, open_transaction
from .transport import DatabaseTransport

log = logging.getLogger(__name__)


def defer(events: Sequence[DomainEvent], using: str | None) -> list[PublishResult]:
    """Encode the events now, and publish them with the transaction they belong to."""
    settings = conf.current()
    if settings is None:
        return core.publish_now(events, None)
    messages = core.encode_all(events, settings)
    if not messages:
        return []
    if capture := capturing():
        return capture.publish(messages, open_transaction(using))
    transport = transport_for(settings)
    if transport.capabilities.persistent:
        alias = alias_to_write(using)
        if isinstance(transport, DatabaseTransport) and transport.alias == alias:
            return _put_into_queues(messages, transport)
        if settings.outbox:
            return store(messages, settings, alias)
    return _publish_on_commit(messages, settings, open_transaction(using))


def needs_outbox(settings: Settings) -> bool:
    """Whether events are stored before they are sent.

    Before a broker that ends with the process, or in their own database, they need not be.
    """
    return settings.outbox and transport_for(settings).capabilities.persistent


def _put_into_queues(
    messages: Sequence[Message], transport: DatabaseTransport
) -> list[PublishResult]:
    """The transaction that the events belong to is that of their queues: no outbox is needed."""
    is_open = connections[transport.alias].in_atomic_block
    results, queued = [], []
    for message, raw in zip(messages, transport.enqueue(messages), strict=True):
        result = core.judge(message, raw, transport.settings)
        if result.outcome is Outcome.CONFIRMED:
            queued.append(message)
            result = PublishResult(Outcome.DEFERRED) if is_open else result
        results.append(result)
    if queued and is_told_published():
        transaction.on_commit(partial(tell_published, queued, None), using=transport.alias)
    return results


def store(
    messages: Sequence[Message], settings: Settings, alias: str, handler_name: str = ""
) -> list[PublishResult]:
    """Write to the outbox, and have it sent once that is committed.

    To everybody who is bound for it, or to the queue of one handler.
    """
    leased_until = time.monotonic() + settings.lease_seconds
    try:
        ids = _write(messages, settings, alias, handler_name)
    except DatabaseError as error:
        if is_missing_table(error):
            raise translate(error, alias) from error
        raise
    hook = HandOver(
        [
            Committed(OutboxRow(row_id, message, 0, handler_name), alias, settings, leased_until)
            for row_id, message in zip(ids, messages, strict=True)
        ]
    )
    transaction.on_commit(hook, using=alias)
    return [PublishResult(Outcome.DEFERRED)] * len(messages)


def _write(
    messages: Sequence[Message], settings: Settings, alias: str, handler_name: str
) -> list[int]:
    connection = connections[alias]
    check_supported(connection)
    token = str(background.token)
    if len(messages) <= ROWS_PER_STATEMENT or connection.in_atomic_block:
        return write_to_outbox(messages, token, settings.lease_seconds, connection, handler_name)
    with transaction.atomic(using=alias):
        return write_to_outbox(messages, token, settings.lease_seconds, connection, handler_name)


@value
class HandOver:
    """A commit hook: what was committed goes to the background publisher."""

    events: Sequence[Committed]

    def __call__(self) -> None:
        if connections[self.events[0].alias].in_atomic_block:
            # Somebody plays a commit, as `captureOnCommitCallbacks` does: it may yet roll back.
            log.info("Not committed, so not sent: see domain_event_broker.django.testing.")
            return
        try:
            background.publisher.hand_over(self.events)
        except Exception:  # the commit's caller is not to suffer; the relay sends them
            log.exception("%d committed events are left to the relay.", len(self.events))


def _publish_on_commit(
    messages: Sequence[Message], settings: Settings, alias: str | None
) -> list[PublishResult]:
    if alias is None:
        return _send(messages, settings)
    transaction.on_commit(partial(_send_committed, messages, settings, alias), using=alias)
    return [PublishResult(Outcome.DEFERRED)] * len(messages)


def _send_committed(messages: Sequence[Message], settings: Settings, alias: str) -> None:
    """Send what belongs to a transaction that is committed: there is nobody to raise to."""
    errors: Sequence[Exception | None]
    try:
        errors = [result.error for result in _send(messages, settings)]
    except Exception as error:
        errors = [error] * len(messages)
    for message, failure in zip(messages, errors, strict=True):
        if failure is not None:
            _tell_failure(message, failure, alias)


def _send(messages: Sequence[Message], settings: Settings) -> list[PublishResult]:
    results = core.send(messages, settings)
    confirmed = zip(messages, results, strict=True)
    tell_published((m for m, result in confirmed if result.outcome is Outcome.CONFIRMED), None)
    return results


def _tell_failure(message: Message, error: Exception, alias: str) -> None:
    log.error(
        "Event %s (%r) was committed but is not published: %s",
        message.message_id,
        message.routing_key,
        error,
        exc_info=error,
    )
    event_publish_failed.send_robust(
        sender=DomainEvent,
        event_id=message.message_id,
        routing_key=message.routing_key,
        error=error,
        using=alias,
    )
