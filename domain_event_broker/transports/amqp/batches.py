"""Messages on their way out, and the outcomes that somebody waits for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pika

from ...errors import BrokerUnavailable
from ...messages import Message
from ...values import value
from ..base import Outcome, PublishResult
from .wire import sent_id


@value
class Outgoing:
    """A message on its way to an exchange, by a routing key that need not be its event's."""

    exchange: str
    routing_key: str
    message: Message

    def is_returned_as(self, method: Any, properties: pika.BasicProperties) -> bool:
        """Whether a ``basic.return`` may be of this message; it carries no delivery tag."""
        mine = (sent_id(self.message), self.routing_key, self.exchange)
        return mine == (properties.message_id, method.routing_key, method.exchange)


class Batch:
    """Messages whose outcomes are waited for together."""

    def __init__(
        self,
        messages: Sequence[Outgoing],
        on_done: Callable[[list[PublishResult]], None] | None = None,
    ) -> None:
        self.messages = messages
        self.is_given_up = False
        #: Why what was not written was not.
        self.obstacle = "No connection in time"
        self.last_progress = time.monotonic()
        self._results: list[PublishResult | None] = [None] * len(messages)
        self._written: set[int] = set()
        self._missing = len(messages)
        self._on_done = on_done
        # Held until all are there. A bare lock: what a signal handler raises, such as a soft time
        # limit, may leave the lock inside of an `Event` held for ever, and with it who sets it.
        self._done = threading.Lock()
        if messages:
            self._done.acquire()

    def set(self, index: int, result: PublishResult) -> None:
        """In the connection's thread: note an outcome; the first one counts."""
        if self._results[index] is not None:
            return
        self._results[index] = result
        self._missing -= 1
        self.last_progress = time.monotonic()
        if not self._missing:
            self._done.release()
            if self._on_done is not None:
                self._on_done(self.results())

    def wait(self, timeout_seconds: float, since: float = 0.0) -> list[PublishResult]:
        """Wait until all are there, or nothing came for `timeout_seconds`. For one thread.

        Counted from `since`, by `time.monotonic`, where messages before these were answered then.
        """
        self.last_progress = max(self.last_progress, since)
        try:
            while self._missing:
                remaining = self.last_progress + timeout_seconds - time.monotonic()
                if remaining <= 0:
                    break
                self._done.acquire(timeout=remaining)
        finally:
            # Also where an exception, such as KeyboardInterrupt, ends the wait.
            self.is_given_up = self._missing > 0
        return self.results()

    def may_write(self, index: int) -> bool:
        """In the connection's thread: note that a message is written now, unless it is too late."""
        # Noted before it is asked, as `wait` gives up before it asks: so none is taken for unsent
        # that is.
        self._written.add(index)
        return not self.is_given_up

    def results(self) -> list[PublishResult]:
        return [
            self._unanswered(index) if result is None else result
            for index, result in enumerate(self._results)
        ]

    def _unanswered(self, index: int) -> PublishResult:
        if index in self._written:
            return PublishResult(Outcome.UNKNOWN)
        error = BrokerUnavailable(f"{self.obstacle}; the event was not sent.")
        return PublishResult(Outcome.UNKNOWN, error)


@dataclass(slots=True)
class Pending:
    """One message of a batch, waiting to be written or confirmed."""

    batch: Batch
    index: int
    written_at: float = 0.0
    is_returned: bool = False

    @property
    def outgoing(self) -> Outgoing:
        return self.batch.messages[self.index]

    def end(self, result: PublishResult) -> None:
        self.batch.set(self.index, result)
