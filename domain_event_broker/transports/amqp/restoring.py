"""Seeing now and then that what others may take away is there: the exchange, and the bindings."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Mapping
from functools import partial

from .connection import ConnectionThread
from .pika_connection import Connection
from .subscription import MISSING_EXCHANGE_SECONDS, SubscriptionChannel

log = logging.getLogger(__name__)

# How often it is looked whether the exchange is there, which costs the broker next to nothing.
_LOOK_SECONDS = 1.0
# How often, more or less, queues are bound again. That nobody can look for, and to bind what is
# bound costs RabbitMQ 4.3 a write.
_BIND_SECONDS = 30.0


class Restorer:
    """Looks after an exchange for all channels of a connection, in that connection's thread."""

    def __init__(
        self, thread: ConnectionThread, exchange: str, channels: Mapping[str, SubscriptionChannel]
    ) -> None:
        self._thread = thread
        self._exchange = exchange
        self._channels = channels
        self.forget()

    def forget(self) -> None:
        """Look no more: the connection is gone, or another process's. From any thread."""
        self._connection: Connection | None = None
        self._is_missing = False
        self._bind_at = 0.0

    def begin(self, connection: Connection) -> None:
        self._connection = connection
        self._is_missing = False
        self._bind_at = _next_binding()
        self._look_later(connection)

    def on_missing(self) -> None:
        """A channel was closed, since there is no exchange."""
        if self._is_missing:
            return
        self._is_missing = True
        log.error(
            "The exchange %r was deleted, and events that were published since have reached "
            "nobody. It is declared anew, and the queues of %s are bound to it again.",
            self._exchange,
            ", ".join(sorted(self._channels)),
        )
        self._thread.loop.call_later(
            MISSING_EXCHANGE_SECONDS, partial(self._restore, self._connection)
        )

    def _restore(self, connection: Connection | None) -> None:
        if connection is self._connection:
            self._is_missing = False
            self._bind()

    def _look_later(self, connection: Connection) -> None:
        self._thread.loop.call_later(_LOOK_SECONDS, partial(self._look, connection))

    def _look(self, connection: Connection) -> None:
        if connection is not self._connection:
            return
        if not self._is_missing:
            any(channel.look_for_exchange() for channel in self._channels.values())
            if time.monotonic() >= self._bind_at:
                self._bind()
        self._look_later(connection)

    def _bind(self) -> None:
        self._bind_at = _next_binding()
        for channel in self._channels.values():
            channel.bind()


def _next_binding() -> float:
    return time.monotonic() + _BIND_SECONDS * random.uniform(0.5, 1.5)
