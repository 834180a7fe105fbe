"""`HandlerRun`: what ``run_subscriber`` does, from the first connection to the last settlement."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from queue import Empty, SimpleQueue

from django.db import close_old_connections

from ..errors import TransportError
from ..events import DomainEvent
from ..handling import Handler, Report
from ..retrying import backoff_seconds
from ..settings import Settings
from ..subscribing import Subscriber
from .registry import RegisteredHandler

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a run ends by itself; without any, never."""

    #: End when nothing waits any more, leaving delayed retries to later.
    drain: bool = False
    #: For the whole run, the wait for the broker included.
    time_limit_seconds: float | None = None
    #: Runs of handlers.
    max_events: int | None = None
    #: How long a handler that is running at the end may go on; its event then comes back.
    shutdown_timeout_seconds: float | None = None


class HandlerRun:
    """One run of handlers on the broker of `settings`, for one thread, and once.

    :param on_ready: called when all queues are declared and bound, before the first event.
    :param on_report: called with a `Report` of each delivery that ended, in the handlers' thread.
    """

    def __init__(
        self,
        handlers: Sequence[RegisteredHandler],
        settings: Settings,
        limits: Limits,
        *,
        on_ready: Callable[[], None],
        on_report: Callable[[Report], None],
    ) -> None:
        self._handlers = handlers
        self._settings = settings
        self._limits = limits
        self._on_ready = on_ready
        self._subscriber = Subscriber(settings, on_report=on_report)
        # SimpleQueue.put is reentrant, so that a signal handler may call it.
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._is_stopping = False
        self._deadline: float | None = None

    def run(self) -> None:
        """Register, then handle events until a limit is reached or `stop` is called.

        While the broker cannot be reached, waits for it. Raises `AccessRefused`,
        `TopologyMismatch` and other configuration errors.
        """
        if self._limits.time_limit_seconds is not None:
            self._deadline = time.monotonic() + self._limits.time_limit_seconds
        try:
            if not all(self._register(handler) for handler in self._handlers):
                return
            self._on_ready()
            self._subscriber.start_consuming(
                self._remaining_seconds(),
                drain=self._limits.drain,
                max_events=self._limits.max_events,
                shutdown_timeout_seconds=self._limits.shutdown_timeout_seconds,
            )
        finally:
            self._subscriber.disconnect()

    def stop(self) -> None:
        """End the run gracefully; returns at once.

        May be called from any thread, from a handler and from a signal handler.
        """
        self._is_stopping = True
        self._subscriber.stop_consuming()
        self._wake.put(None)

    def _register(self, handler: RegisteredHandler) -> bool:
        """Register when the broker is there; ``False`` if the run is to end before."""
        function = with_fresh_connections(handler.function)
        attempt = 0
        while not self._is_over():
            try:
                handler.register_with(self._subscriber, function)
            except TransportError as error:
                self._pause(attempt, error)
                attempt += 1
            else:
                return True
        return False

    def _pause(self, attempt: int, error: TransportError) -> None:
        seconds = backoff_seconds(
            attempt,
            self._settings.reconnect_delay_seconds,
            self._settings.max_reconnect_delay_seconds,
        )
        log.warning("%s (next try in %.1f s)", error, seconds)
        remaining = self._remaining_seconds()
        with suppress(Empty):
            self._wake.get(timeout=seconds if remaining is None else min(seconds, remaining))

    def _is_over(self) -> bool:
        return self._is_stopping or self._remaining_seconds() == 0

    def _remaining_seconds(self) -> float | None:
        if self._deadline is None:
            return None
        return max(self._deadline - time.monotonic(), 0.0)


def with_fresh_connections(function: Handler) -> Handler:
    """`function`, with stale database connections of its thread closed before and after.

    Django does so around requests only. A connection that cannot be closed fails no event.
    """

    @wraps(function)
    def handle(event: DomainEvent) -> None:
        _close_old_connections()
        try:
            function(event)
        finally:
            _close_old_connections()

    return handle


def _close_old_connections() -> None:
    try:
        close_old_connections()
    except Exception as error:
        log.warning("A database connection could not be closed.", exc_info=error)
