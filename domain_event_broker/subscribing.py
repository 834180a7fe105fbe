"""`Subscriber`: receives events, hands each to its handler, and stops gracefully."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue

from .errors import HandlerError, SettingsError, TransportError
from .handling import Handler, Registration, Report
from .names import check_binding_keys, check_handler_name
from .publishing import ConnectionSettings, resolve_with_exchange
from .redacting import scrubber
from .retrying import Backoff, check_retries
from .settings import Settings
from .transports import transport_for
from .transports.base import Consumer, Subscription
from .wording import shown
from .working import Crew, Orders

log = logging.getLogger(__name__)

# How often a thread that waits looks whether it should still wait; what ends the wait wakes it.
_IDLE_SECONDS = 1.0
_FLUSH_SECONDS = 5.0
#: Python runs one of them at a time, whatever they do; those beyond wait for something else.
MAX_THREADS = 256


class Subscriber:
    """Manages handlers: `register` each, then `start_consuming`.

    Handlers run in worker threads, by default in one, one at a time, while heartbeats go on however
    long one takes. Receiving, settling and reconnecting happen in a thread of the transport. With
    ``connection_settings=None`` nothing is ever received.

    :param connection_settings: a URL, a dict of settings, ``''`` for the default, or ``None``.
    :param exchange: another exchange than that of the settings.
    :param exchange_type: its type.
    :param on_report: called with a `Report` of each delivery that ended, in the thread of its
        handler: by several at once, where several run.
    :param on_worker_end: called in each worker's thread when it ends, to give up what is its own.
    """

    def __init__(
        self,
        connection_settings: ConnectionSettings = "",
        exchange: str | None = None,
        exchange_type: str | None = None,
        *,
        on_report: Callable[[Report], None] | None = None,
        on_worker_end: Callable[[], None] | None = None,
    ) -> None:
        self.settings = resolve_with_exchange(connection_settings, exchange, exchange_type)
        self._on_report = on_report
        self._on_worker_end = on_worker_end
        self._registrations: dict[str, Registration] = {}
        self._consumer: Consumer | None = None
        # SimpleQueue.put is reentrant, so that a signal handler may stop us; an Event is not.
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._is_stopping = False
        self._running = threading.Lock()

    def register(
        self,
        handler: Handler,
        name: str,
        binding_keys: Iterable[str],
        dead_letter: bool | None = None,
        durable: bool = True,
        exclusive: bool = False,
        auto_delete: bool = False,
        max_retries: int = 0,
        *,
        backoff: Backoff | None = None,
        concurrency: int = 1,
    ) -> None:
        """Register a handler; connects, declares its queue and binds it before it returns.

        :param handler: called with each `DomainEvent`. What it raises decides what becomes of
            the event: nothing, it is done; `Retry`, or what `backoff` names, it comes back;
            anything else, a dead letter.
        :param name: the name of the handler and its queue, at most 252 bytes. Subscribers that
            use the same name share the queue's events.
        :param binding_keys: routing keys, with ``*`` for one word and ``#`` for any number.
        :param dead_letter: whether to keep events that failed. By default yes, but not for an
            exclusive or auto-delete subscription; what is not kept is logged and gone.
        :param durable: whether the queue outlives the broker.
        :param exclusive: whether the queue belongs to this subscriber alone and goes with it.
        :param auto_delete: whether the queue goes with its last subscriber.
        :param max_retries: how often an event may come back through `Retry`.
        :param backoff: which other exceptions are retried, how often, and when. It counts `Retry`
            too, so that `max_retries` is not given beside it.
        :param concurrency: how many of its events may be handled at once, from 1 to 256, in as
            many threads; with 1 they are handled in order.

        Raises `HandlerError` for bad arguments, `SettingsError` where ``SCRUB_ERROR`` names no
        function, `BrokerUnavailable`, `AccessRefused`, `TlsFailed`, or `TopologyMismatch` where
        the queue exists with other arguments.
        """
        subscription = make_subscription(
            name,
            binding_keys,
            dead_letter,
            durable,
            exclusive,
            auto_delete,
            max_retries,
            backoff,
            concurrency,
        )
        if not callable(handler):
            raise HandlerError(f"The handler {name!r} is not callable.")
        if name in self._registrations:
            raise HandlerError(f"A handler named {name!r} is registered already.")
        if self.settings is None:
            log.debug("No broker is configured: the handler %s receives nothing.", name)
            return
        scrubber(self.settings)  # a wrong path is told now, not with the first failure
        registration = Registration(
            handler,
            subscription,
            self.settings,
            max_retries=max_retries if backoff is None else backoff.max_retries,
            backoff=backoff,
        )
        consumer = self._open(self.settings)
        # Known before its first event can arrive, which may be while we are consuming.
        self._registrations[name] = registration
        try:
            consumer.subscribe(subscription)
        except BaseException:
            del self._registrations[name]
            if not self._registrations:
                self.disconnect()  # nobody may ever start, or end, what is left of it
            raise
        if not (subscription.durable or subscription.exclusive):
            log.warning(
                "The queue %r and the events in it are lost when the broker restarts; "
                "register it without durable=False to keep them.",
                name,
            )

    def start_consuming(
        self,
        timeout: float | None = None,
        *,
        drain: bool = False,
        max_events: int | None = None,
        shutdown_timeout_seconds: float | None = None,
        threads: int | None = None,
    ) -> None:
        """Handle events until told to stop; returns with the consumers closed.

        Running handlers may finish. After the return, the same handlers can be started again.

        :param timeout: stop after so many seconds.
        :param drain: stop when nothing waits any more, leaving delayed retries to later.
        :param max_events: stop after so many events; one that waits on for its retry is none.
        :param shutdown_timeout_seconds: wait no longer than this for the running handlers; their
            events then come back. Without it, as long as it takes.
        :param threads: how many handlers may run at once, of all of them together; by default
            the highest `concurrency` among them, which by default is one.

        `KeyboardInterrupt` stops it gracefully, too. Raises `TransportError` when it runs already.
        """
        _check_limits(timeout, max_events, shutdown_timeout_seconds)
        if threads is not None:
            check_threads(threads)
        if self.settings is None or not self._registrations:
            log.debug("Nothing to consume.")
            return
        if not self._running.acquire(blocking=False):
            raise TransportError("This subscriber is consuming already.")
        try:
            orders = Orders(
                threads=self._number_of_threads(self.settings, threads),
                drain=drain,
                max_events=max_events,
                on_report=self._report,
                on_end=self._on_worker_end or (lambda: None),
                is_asked_to_stop=lambda: self._is_stopping,
            )
            crew = Crew(self._open(self.settings), self._registrations, orders, self._wake)
            self._consume(crew, timeout, shutdown_timeout_seconds)
        finally:
            self._is_stopping = False
            self._wake = SimpleQueue()
            self._running.release()
        if crew.error is not None:
            raise crew.error

    def stop_consuming(self) -> None:
        """Ask `start_consuming` to end; returns at once.

        May be called from any thread, from a handler and from a signal handler. If nothing is
        being consumed, the next `start_consuming` returns at once.
        """
        self._is_stopping = True
        self._wake.put(None)

    def connect(self) -> None:
        """Connect and declare again after `disconnect`. Otherwise `register` does it."""
        if self.settings is not None and self._registrations:
            self._open(self.settings)

    def disconnect(self) -> None:
        """Give up the connection of a subscriber that is not consuming. Idempotent."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close(_FLUSH_SECONDS)

    def _consume(
        self, crew: Crew, timeout: float | None, shutdown_timeout_seconds: float | None
    ) -> None:
        try:
            crew.consumer.start()
            crew.start()
            self._wait(crew, timeout)
        except KeyboardInterrupt:
            log.info("Interrupted; stopping.")
        finally:
            self._shut_down(crew, shutdown_timeout_seconds)

    def _open(self, settings: Settings) -> Consumer:
        if self._consumer is None:
            consumer = transport_for(settings).consumer()
            try:
                for registration in self._registrations.values():
                    consumer.subscribe(registration.subscription)
            except BaseException:
                consumer.close(0)
                raise
            self._consumer = consumer
        return self._consumer

    def _number_of_threads(self, settings: Settings, wanted: int | None) -> int:
        subscriptions = (each.subscription for each in self._registrations.values())
        count = wanted or max(subscription.concurrency for subscription in subscriptions)
        if count > 1 and settings.crash_attempts == 1:
            log.warning(
                "One handler runs at a time, not %d: with CRASH_ATTEMPTS of 1, an event that ends "
                "the process would take those beside it to the dead letters.",
                count,
            )
            return 1
        return count

    def _wait(self, crew: Crew, timeout: float | None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        while not crew.is_finished and not self._is_stopping:
            remaining = _IDLE_SECONDS if deadline is None else deadline - time.monotonic()
            if remaining <= 0:
                return
            try:
                self._wake.get(timeout=min(remaining, _IDLE_SECONDS))
            except Empty:
                continue

    def _shut_down(self, crew: Crew, shutdown_timeout_seconds: float | None) -> None:
        crew.consumer.stop()
        crew.stop()
        if not crew.join(shutdown_timeout_seconds):
            log.warning("A handler is still running after the shutdown timeout; leaving it.")
        self._consumer = None
        crew.consumer.close(_FLUSH_SECONDS)

    def _report(self, report: Report) -> None:
        if self._on_report is not None:
            self._on_report(report)


def make_subscription(
    name: str,
    binding_keys: Iterable[str],
    dead_letter: bool | None,
    durable: bool,
    exclusive: bool,
    auto_delete: bool,
    max_retries: int,
    backoff: Backoff | None = None,
    concurrency: int = 1,
) -> Subscription:
    """Check the arguments of `Subscriber.register`; raises `HandlerError`."""
    check_handler_name(name)
    check_retries(max_retries, backoff)
    check_concurrency(concurrency)
    is_lasting = not (exclusive or auto_delete)
    return Subscription(
        name=name,
        binding_keys=check_binding_keys(binding_keys),
        dead_letter=is_lasting if dead_letter is None else bool(dead_letter),
        durable=bool(durable),
        exclusive=bool(exclusive),
        auto_delete=bool(auto_delete),
        retries=max_retries > 0 or (backoff is not None and backoff.max_retries > 0),
        concurrency=concurrency,
    )


def check_concurrency(concurrency: object) -> None:
    """Raises `HandlerError` unless it is a number of threads."""
    if not _is_number_of_threads(concurrency):
        raise HandlerError(
            f"concurrency must be a whole number from 1 to {MAX_THREADS}, not {shown(concurrency)}."
        )


def check_threads(threads: object) -> None:
    """Raises `SettingsError` unless it is a number of threads."""
    if not _is_number_of_threads(threads):
        raise SettingsError(
            f"threads must be a whole number from 1 to {MAX_THREADS}, not {shown(threads)}."
        )


def _is_number_of_threads(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_THREADS


def _check_limits(
    timeout: float | None, max_events: int | None, shutdown_timeout_seconds: float | None
) -> None:
    for what, value in (
        ("timeout", timeout),
        ("max_events", max_events),
        ("shutdown_timeout_seconds", shutdown_timeout_seconds),
    ):
        if value is not None and not value >= 0:
            raise SettingsError(f"{what} must not be negative, but is {shown(value)}.")
