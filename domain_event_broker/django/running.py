"""`HandlerRun`: what ``run_subscriber`` does, from the first connection to the last settlement."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue

from django.db import close_old_connections, connections

from ..errors import TransportError
from ..handling import Ending, Report
from ..retrying import backoff_seconds
from ..settings import Settings
from ..subscribing import Subscriber
from ..transports import transport_for
from .care import DatabaseCare
from .databases import check_tables
from .dead_letters.collecting import CollectorThread, has_table
from .inbox import once_per_event
from .models import InboxEntry
from .registry import RegisteredHandler
from .relaying import Relay, RelayThread, has_outbox
from .signals import tell
from .transactions import inbox_alias

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
    #: How long handlers that are running at the end may go on; their events then come back.
    shutdown_timeout_seconds: float | None = None
    #: How many handlers may run at once; by default the highest `concurrency` of them.
    threads: int | None = None

    @property
    def ends_by_itself(self) -> bool:
        return self.drain or self.time_limit_seconds is not None or self.max_events is not None


class HandlerRun:
    """One run of handlers on the broker of `settings`, for one thread, and once.

    :param on_ready: called when all queues are declared and bound, before the first event.
    :param tends: whether to relay the outbox and collect dead letters meanwhile, which one process
        is enough for.
    :param on_report: called with a `Report` of each delivery that ended, in its handler's thread.
    """

    def __init__(
        self,
        handlers: Sequence[RegisteredHandler],
        settings: Settings,
        limits: Limits,
        *,
        tends: bool = True,
        on_ready: Callable[[], None],
        on_report: Callable[[Report], None],
    ) -> None:
        self._handlers = handlers
        self._tends = tends
        self._settings = settings
        self._limits = limits
        self._on_ready = on_ready
        self._on_report = on_report
        self._subscriber = Subscriber(
            settings, on_report=self._report, on_worker_end=connections.close_all
        )
        self._collector: CollectorThread | None = None
        self._care = DatabaseCare(lambda: self._is_stopping)
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
            self._check_inboxes()
            if not all(self._register(handler) for handler in self._handlers):
                return
            close_old_connections()  # this thread needs none while it waits
            self._on_ready()
            with self._relaying(), self._collecting():
                self._subscriber.start_consuming(
                    self._remaining_seconds(),
                    drain=self._limits.drain,
                    max_events=self._limits.max_events,
                    shutdown_timeout_seconds=self._limits.shutdown_timeout_seconds,
                    threads=self._limits.threads,
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
        function = handler.function
        if handler.inbox:
            function = once_per_event(function, handler.name, handler.using or inbox_alias())
        function = self._care.around(function)
        return self._when_there(lambda: handler.register_with(self._subscriber, function))

    def _check_inboxes(self) -> None:
        """Look for the tables before the first event needs one. Waits for the databases."""
        aliases = {each.using or inbox_alias() for each in self._handlers if each.inbox}
        for alias in sorted(aliases):
            self._when_there(partial(check_tables, alias, InboxEntry))

    @contextmanager
    def _relaying(self) -> Iterator[None]:
        """Relay the outbox meanwhile; what is to be drained includes what is in it now.

        Also with ``OUTBOX`` off: replays go through it all the same.
        """
        is_persistent = transport_for(self._settings).capabilities.persistent
        if not (self._tends and is_persistent and has_outbox()):
            yield
            return
        if self._limits.drain:
            self._drain_outbox()
        thread = RelayThread(self._settings)
        thread.start()
        try:
            yield
        finally:
            thread.stop(self._settings.publish_timeout_seconds)

    @contextmanager
    def _collecting(self) -> Iterator[None]:
        """Move dead letters into their table meanwhile, where there is one."""
        names = [handler.name for handler in self._handlers if handler.keeps_dead_letters]
        if not (self._tends and names and has_table()):
            yield
            return
        self._collector = CollectorThread(self._settings, names)
        self._collector.start()
        try:
            yield
        finally:
            self._collector.stop(self._settings.publish_timeout_seconds)

    def _report(self, report: Report) -> None:
        self._on_report(report)
        if report.ending is Ending.DEAD_LETTERED and self._collector is not None:
            self._collector.tell(report.handler)
        tell(report)

    def _drain_outbox(self) -> None:
        relay = Relay(self._settings)
        try:
            relay.drain(self._is_over)
        finally:
            relay.close()

    def _when_there(self, work: Callable[[], None]) -> bool:
        """Do `work` once broker and database are there; ``False`` if the run is to end before."""
        attempt = 0
        while not self._is_over():
            try:
                work()
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
