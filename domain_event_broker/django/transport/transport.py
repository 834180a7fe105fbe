"""Publishing into queues that are tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar
from urllib.parse import urlsplit

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.utils import Error as DatabaseError
from django.utils.connection import ConnectionDoesNotExist

from ...errors import ConfigurationError, SettingsError
from ...messages import Message
from ...settings import Settings
from ...transports.base import Capabilities, Outcome, PublishResult, Transport
from ..databases import translate, waiting_out_locks
from ..dialects import check_supported
from ..forking import gate
from ..inserting import write_to_queues
from . import waking
from .consumer import DatabaseConsumer
from .dead_letters import DatabaseDeadLetters
from .queues import Router, find_queue


class DatabaseTransport(Transport):
    """Queues in the database `alias`, shared by all processes of the project."""

    capabilities: ClassVar[Capabilities] = Capabilities(persistent=True, counts_crashes=True)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.alias = _alias(settings)
        self._router = Router(self.alias, settings.exchange, settings.exchange_type)

    def enqueue(self, messages: Sequence[Message]) -> list[PublishResult]:
        """Put each message into the queues bound for it, as part of the open transaction.

        Outside of one, in one of their own. Raises `TopologyMismatch`, `MissingTables` and the
        database's own errors, which a transaction does not survive.
        """
        try:
            found = self._router.routes([message.routing_key for message in messages])
            rows = [
                (queue_id, message)
                for queue_ids, message in zip(found, messages, strict=True)
                for queue_id in queue_ids
            ]
            if rows:
                self._insert(rows)
        except DatabaseError as error:
            translated = translate(error, self.alias)
            if isinstance(translated, ConfigurationError):
                raise translated from error
            raise
        return [
            PublishResult(Outcome.CONFIRMED if queue_ids else Outcome.UNROUTABLE)
            for queue_ids in found
        ]

    def publish(self, messages: Sequence[Message], timeout_seconds: float) -> list[PublishResult]:
        return self._outside(lambda: self.enqueue(messages), len(messages), timeout_seconds)

    def requeue(
        self, handler_name: str, messages: Sequence[Message], timeout_seconds: float
    ) -> list[PublishResult]:
        return self._outside(
            lambda: self.enqueue_for(handler_name, messages), len(messages), timeout_seconds
        )

    def enqueue_for(self, handler_name: str, messages: Sequence[Message]) -> list[PublishResult]:
        """As `requeue`, but as part of the current transaction; raises as `enqueue` does."""
        queue = find_queue(self.alias, handler_name)
        if queue is None:
            return [PublishResult(Outcome.UNROUTABLE)] * len(messages)
        self._insert([(queue, message) for message in messages])
        return [PublishResult(Outcome.CONFIRMED)] * len(messages)

    def _outside(
        self,
        work: Callable[[], list[PublishResult]],
        count: int,
        timeout_seconds: float,
    ) -> list[PublishResult]:
        """Do `work` in a transaction of its own; what the database raises becomes the results."""
        try:
            with gate.inside():
                return waiting_out_locks(work, timeout_seconds)
        except DatabaseError as error:
            # One that broke would stay so.
            connections[self.alias].close_if_unusable_or_obsolete()
            # A commit whose answer is lost may have happened; else nothing did.
            return [PublishResult(Outcome.UNKNOWN, translate(error, self.alias))] * count

    def consumer(self) -> DatabaseConsumer:
        return DatabaseConsumer(self.settings, self.alias)

    def dead_letters(self, handler_name: str) -> DatabaseDeadLetters:
        return DatabaseDeadLetters(self.settings, self.alias, handler_name)

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Nothing to give up: connections are Django's, and consumers their makers'."""

    def _insert(self, rows: Sequence[tuple[int, Message]]) -> None:
        queue_ids = {queue_id for queue_id, _ in rows}
        with transaction.atomic(using=self.alias, savepoint=False):
            write_to_queues(rows, connections[self.alias])
            waking.notify(self.alias, queue_ids)


def _alias(settings: Settings) -> str:
    """The database that the URL names. Raises `SettingsError`."""
    parts = urlsplit(settings.urls[0])
    alias = parts.netloc or DEFAULT_DB_ALIAS
    if parts.path.strip("/") or parts.query:
        raise SettingsError("The URL of the database transport is database:// or database://alias.")
    try:
        check_supported(connections[alias])
    except ConnectionDoesNotExist:
        raise SettingsError(
            f"URL names the database {alias!r}, which DATABASES does not have; "
            f"it has {', '.join(map(repr, connections))}."
        ) from None
    except ConfigurationError as error:
        raise SettingsError(str(error)) from error
    return alias
