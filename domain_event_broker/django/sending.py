"""From claimed rows of the outbox to the broker, and what each outcome means for its row."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

from django.db import transaction

from ..errors import (
    BrokerUnavailable,
    ConfigurationError,
    DomainEventBrokerError,
    EventError,
    TransportClosed,
)
from ..messages import DEAD_LETTER_ID, Message
from ..publishing import judge
from ..retrying import backoff_seconds
from ..settings import Settings
from ..transports import transport_for
from ..transports.base import Outcome, PublishResult, no_queue
from .databases import waiting_out_locks
from .forking import gate
from .leases import LeaseKeeper
from .models import DeadLetter, OutboxEvent
from .querysets import OutboxQuerySet, OutboxRow
from .signals import event_publish_failed, tell_published

log = logging.getLogger(__name__)

# A row that the broker refuses waits up to five minutes between attempts, for an hour in all.
_POSTPONE_BASE_SECONDS = 1.0
_POSTPONE_MAX_SECONDS = 300.0
_PARK_AFTER_ATTEMPTS = 20
_MAX_ERROR_CHARACTERS = 1000


class Fate(Enum):
    """What becomes of a row once its send ended."""

    #: The broker has it: to be deleted.
    SENT = "sent"
    #: It did not leave: given back as it is.
    UNSENT = "unsent"
    #: Refused, or in doubt: tried again later, by itself.
    POSTPONED = "postponed"
    #: It can never be sent: kept for somebody to look at.
    PARKED = "parked"
    #: A replay for a handler without a queue: a dead letter again.
    RETURNED = "returned"


@dataclass(slots=True)
class Sent:
    """What sending some rows came to."""

    #: The broker has these; they are still there, and held.
    ids: list[int] = field(default_factory=list)
    postponed: int = 0
    parked: int = 0
    #: Replays that are dead letters again.
    returned: int = 0
    #: Why the broker took nothing more, if it did not.
    outage: DomainEventBrokerError | None = None


def outbox(alias: str) -> OutboxQuerySet:
    """The outbox in the database `alias`."""
    return OutboxEvent.objects.using(alias)


class RowSender:
    """Publishes rows that `token` holds, and keeps their leases meanwhile. For one thread."""

    def __init__(self, settings: Settings, token: str) -> None:
        self.settings = settings
        self._token = token
        self._sending: tuple[str, list[int]] | None = None
        self._keeper = LeaseKeeper(
            self._renew, settings.lease_seconds, "domain-event-broker outbox leases"
        )

    def send(
        self,
        rows: Sequence[OutboxRow],
        alias: str,
        claim_following: Callable[[], Sequence[OutboxRow]] = lambda: (),
    ) -> Sent:
        """Publish `rows` in order; give back, postpone or park what fails.

        `settle` the rows that were sent. While the broker confirms the last of them,
        `claim_following` is called. Raises the database's own errors: what is not settled then
        comes back when the leases end.
        """
        self._keeper.start()
        self._sending = alias, [row.id for row in rows]
        try:
            return self._send(rows, alias, claim_following)
        finally:
            self._sending = None

    def settle(self, ids: Sequence[int], alias: str) -> None:
        """Delete rows that the broker has, as far as they are still held."""
        if not ids:
            return
        held = outbox(alias).held_by(self._token, ids)
        count = waiting_out_locks(held.settle)
        if count < len(ids):
            log.warning(
                "%d events were confirmed after their leases had ended; they may be sent twice.",
                len(ids) - count,
            )

    def close(self) -> None:
        """End the thread that keeps leases."""
        self._keeper.stop(timeout_seconds=1.0)

    def _send(
        self,
        rows: Sequence[OutboxRow],
        alias: str,
        claim_following: Callable[[], Sequence[OutboxRow]],
    ) -> Sent:
        sent = Sent()
        rest = list(_batches(rows))

        def meanwhile() -> None:
            if not rest:
                following = claim_following()
                self._sending = alias, [row.id for row in (*rows, *following)]

        while rest and sent.outage is None:
            batch = rest.pop(0)
            try:
                results = self._publish(batch, meanwhile)
            except ConfigurationError as error:  # such as a refused permission
                sent.outage = error
                rest.insert(0, batch)
                break
            _settle(batch, results, sent, alias, self.settings, self._token)
        _give_back([row for batch in rest for row in batch], alias, self._token)
        return sent

    def _publish(
        self, batch: Sequence[OutboxRow], meanwhile: Callable[[], None]
    ) -> list[PublishResult]:
        transport = transport_for(self.settings)
        messages = [row.message for row in batch]
        timeout_seconds = self.settings.publish_timeout_seconds
        with gate.outside():
            if batch[0].handler:
                return transport.requeue(batch[0].handler, messages, timeout_seconds)
            wait = transport.begin_publish(messages, timeout_seconds)
            with gate.inside():
                meanwhile()
            return wait()

    def _renew(self) -> None:
        sending = self._sending
        if sending is not None:
            alias, ids = sending
            outbox(alias).held_by(self._token, ids).renew(self.settings.lease_seconds)


def _batches(rows: Sequence[OutboxRow]) -> Iterator[Sequence[OutboxRow]]:
    """All of one destination that never failed together, and each other one alone.

    One that the broker closes the channel for leaves all those in doubt that it was sent with.
    """
    fresh: dict[str, list[OutboxRow]] = defaultdict(list)
    for row in rows:
        if not row.attempts:
            fresh[row.handler].append(row)
    yield from fresh.values()
    for row in rows:
        if row.attempts:
            yield [row]


def _settle(
    batch: Sequence[OutboxRow],
    results: Sequence[PublishResult],
    sent: Sent,
    alias: str,
    settings: Settings,
    token: str,
) -> None:
    unsent: list[OutboxRow] = []
    published: list[Message] = []
    postponed: dict[tuple[int, str], list[int]] = defaultdict(list)
    for row, raw in zip(batch, results, strict=True):
        result = _judge(row, raw, settings)
        fate = _fate(row, result, is_alone=len(batch) == 1)
        if fate is Fate.SENT:
            sent.ids.append(row.id)
            if not row.handler and result.outcome is Outcome.CONFIRMED:
                published.append(row.message)
        elif fate is Fate.RETURNED and _return(row, alias, token):
            sent.returned += 1
        elif fate in (Fate.PARKED, Fate.RETURNED):
            sent.parked += 1
            _park(row, result.error, alias, token)
        elif fate is Fate.POSTPONED:
            postponed[row.attempts, _told(result.error)].append(row.id)
        else:
            unsent.append(row)
        if result.outcome is Outcome.UNKNOWN and not _is_its_own_fault(result.error):
            sent.outage = result.error
    for (attempts, error), ids in postponed.items():
        delay_seconds = backoff_seconds(attempts, _POSTPONE_BASE_SECONDS, _POSTPONE_MAX_SECONDS)
        sent.postponed += outbox(alias).held_by(token, ids).postpone(delay_seconds, error)
    _give_back(unsent, alias, token)
    tell_published(published, alias)


def _judge(row: OutboxRow, raw: PublishResult, settings: Settings) -> PublishResult:
    if row.handler and raw.outcome is Outcome.UNROUTABLE:
        return PublishResult(raw.outcome, no_queue(row.handler))
    return judge(row.message, raw, settings)


def _fate(row: OutboxRow, result: PublishResult, *, is_alone: bool) -> Fate:
    if result.outcome is Outcome.CONFIRMED:
        return Fate.SENT
    if row.handler and result.outcome is Outcome.UNROUTABLE:
        return Fate.RETURNED
    if result.outcome is Outcome.UNROUTABLE:
        return Fate.SENT if result.error is None else Fate.PARKED
    if result.outcome is Outcome.REFUSED:
        # With a cause it could not be written at all; else it may be a full queue, or one without
        # a leader.
        is_hopeless = result.error is not None and result.error.__cause__ is not None
        is_over = row.attempts + 1 >= _PARK_AFTER_ATTEMPTS
        return Fate.PARKED if is_hopeless or is_over else Fate.POSTPONED
    if isinstance(result.error, BrokerUnavailable | TransportClosed):
        return Fate.UNSENT
    return Fate.PARKED if is_alone and _is_its_own_fault(result.error) else Fate.POSTPONED


def _is_its_own_fault(error: DomainEventBrokerError | None) -> bool:
    """Whether the connection was lost over the event itself, such as one that is too large."""
    return error is not None and isinstance(error.__cause__, EventError)


def _return(row: OutboxRow, alias: str, token: str) -> bool:
    """Undo a replay that reached nobody; false where its dead letter is gone.

    Also where somebody else has the row by now: their send may reach the queue.
    """
    letters = DeadLetter.objects.using(alias)
    identity = row.message.headers.get(DEAD_LETTER_ID)
    with transaction.atomic(using=alias):
        is_ours = outbox(alias).held_by(token, [row.id]).settle()
        if not (is_ours and letters.filter(identity=identity).restore()):
            transaction.set_rollback(True, using=alias)
            return False
    log.error("Event %s is a dead letter again: %s", row.message.message_id, no_queue(row.handler))
    return True


def _park(row: OutboxRow, error: DomainEventBrokerError | None, alias: str, token: str) -> None:
    if not outbox(alias).held_by(token, [row.id]).park(_told(error)):
        return  # somebody else has it by now, and will find out
    log.error(
        "Event %s (%r) is parked in the outbox of %r: %s",
        row.message.message_id,
        row.message.routing_key,
        alias,
        error,
    )
    event_publish_failed.send_robust(
        sender=OutboxEvent,
        event_id=row.message.message_id,
        routing_key=row.message.routing_key,
        error=error,
        using=alias,
    )


def _give_back(rows: Sequence[OutboxRow], alias: str, token: str) -> None:
    if rows:
        outbox(alias).held_by(token, [row.id for row in rows]).give_back()


def _told(error: DomainEventBrokerError | None) -> str:
    told = str(error or "The broker did not take it.")
    return told.replace("\0", "\\0")[:_MAX_ERROR_CHARACTERS]
