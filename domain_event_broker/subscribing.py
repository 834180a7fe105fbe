"""`Subscriber`: receives events, hands each to its handler, and stops gracefully."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue

from .errors import HandlerError, SettingsError, TransportError
from .handling import Ending, Handler, Registration, Report
from .names import check_binding_keys, check_handler_name
from .publishing import ConnectionSettings, resolve_with_exchange
from .redacting import scrubber
from .retrying import Backoff, check_retries
from .settings import Settings
from .transports import transport_for
from .transports.base import Consumer, Subscription
from .wording import shown

log = logging.getLogger(__name__)

# How often a thread that waits looks whether it should still wait; what ends the wait wakes it.
_IDLE_SECONDS = 1.0
# Draining asks the broker whether all is done after this long without an event.
_DRAIN_POLL_SECONDS = 0.05
# Once the queues looked empty, receive and look again: a delivery may have been on its way.
_DRAIN_LOOKS = 2
_FLUSH_SECONDS = 5.0
# Endings that call no handler.
_UNCOUNTED = (Ending.POSTPONED, Ending.DUPLICATE, Ending.RELEASED)


class Subscriber:
    """Manages handlers: `register` each, then `start_consuming`.

    Handlers run one at a time, in a worker thread, while heartbeats go on however long one takes.
    Receiving, settling and reconnecting happen in a thread of the transport. With
    ``connection_settings=None`` nothing is ever received.

    :param connection_settings: a URL, a dict of settings, ``''`` for the default, or ``None``.
    :param exchange: another exchange than that of the settings.
    :param exchange_type: its type.
    :param on_report: called in the worker thread with a `Report` of each delivery that ended.
    :param on_worker_end: called in the worker thread when it ends, to give up what is its own.
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

        Raises `HandlerError` for bad arguments, `SettingsError` where ``SCRUB_ERROR`` names no
        function, `BrokerUnavailable`, `AccessRefused`, `TlsFailed`, or `TopologyMismatch` where
        the queue exists with other arguments.
        """
        subscription = make_subscription(
            name, binding_keys, dead_letter, durable, exclusive, auto_delete, max_retries, backoff
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
    ) -> None:
        """Handle events until told to stop; returns with the consumers closed.

        A running handler may finish. After the return, the same handlers can be started again.

        :param timeout: stop after so many seconds.
        :param drain: stop when nothing waits any more, leaving delayed retries to later.
        :param max_events: stop after so many events; one that waits on for its retry is none.
        :param shutdown_timeout_seconds: wait no longer than this for the running handler; its
            event then comes back. Without it, as long as it takes.

        `KeyboardInterrupt` stops it gracefully, too. Raises `TransportError` when it runs already.
        """
        _check_limits(timeout, max_events, shutdown_timeout_seconds)
        if self.settings is None or not self._registrations:
            log.debug("Nothing to consume.")
            return
        if not self._running.acquire(blocking=False):
            raise TransportError("This subscriber is consuming already.")
        try:
            worker = _Worker(
                self._open(self.settings),
                self._registrations,
                self._report,
                self._on_worker_end or (lambda: None),
                lambda: self._is_stopping,
                self._wake,
                drain,
                max_events,
            )
            self._consume(worker, timeout, shutdown_timeout_seconds)
        finally:
            self._is_stopping = False
            self._wake = SimpleQueue()
            self._running.release()
        if worker.error is not None:
            raise worker.error

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
        self, worker: _Worker, timeout: float | None, shutdown_timeout_seconds: float | None
    ) -> None:
        try:
            worker.consumer.start()
            worker.start()
            self._wait(worker, timeout)
        except KeyboardInterrupt:
            log.info("Interrupted; stopping.")
        finally:
            self._shut_down(worker, shutdown_timeout_seconds)

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

    def _wait(self, worker: _Worker, timeout: float | None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        while not worker.is_finished and not self._is_stopping:
            remaining = _IDLE_SECONDS if deadline is None else deadline - time.monotonic()
            if remaining <= 0:
                return
            try:
                self._wake.get(timeout=min(remaining, _IDLE_SECONDS))
            except Empty:
                continue

    def _shut_down(self, worker: _Worker, shutdown_timeout_seconds: float | None) -> None:
        worker.consumer.stop()
        worker.stop()
        if worker.ident is not None:
            worker.join(shutdown_timeout_seconds)
        if worker.is_alive():
            log.warning("A handler is still running after the shutdown timeout; leaving it.")
        self._consumer = None
        worker.consumer.close(_FLUSH_SECONDS)

    def _report(self, report: Report) -> None:
        if self._on_report is not None:
            self._on_report(report)


class _Worker(threading.Thread):
    """Runs the handlers, one event after the other."""

    def __init__(
        self,
        consumer: Consumer,
        registrations: dict[str, Registration],
        on_report: Callable[[Report], None],
        on_end: Callable[[], None],
        is_asked_to_stop: Callable[[], bool],
        finished: SimpleQueue[None],
        drain: bool,
        max_events: int | None,
    ) -> None:
        super().__init__(name="domain-event-handlers", daemon=True)
        self.error: BaseException | None = None
        #: Unlike `is_alive`, true when `finished` tells of it.
        self.is_finished = False
        self.consumer = consumer
        self._registrations = registrations
        self._on_report = on_report
        self._on_end = on_end
        self._is_asked_to_stop = is_asked_to_stop
        self._finished = finished
        self._drain = drain
        self._max_events = max_events
        self._events = 0
        self._empty_looks = 0
        self._is_stopping = False

    def stop(self) -> None:
        self._is_stopping = True

    def run(self) -> None:
        try:
            while not self._is_done():
                self._handle_next()
        except BaseException as error:  # reaches the caller of start_consuming
            self.error = error
        finally:
            self._on_end()
            self.is_finished = True
            self._finished.put(None)

    def _is_done(self) -> bool:
        if self._is_stopping or self._is_asked_to_stop():
            return True
        return self._max_events is not None and self._events >= self._max_events

    def _handle_next(self) -> None:
        delivery = self.consumer.receive(_DRAIN_POLL_SECONDS if self._drain else _IDLE_SECONDS)
        if delivery is not None:
            self._empty_looks = 0
            registration = self._registrations[delivery.subscription.name]
            report = registration.process(delivery, self.consumer)
            self._events += int(report.ending not in _UNCOUNTED)
            self._on_report(report)
        elif self._drain:
            self._empty_looks = self._empty_looks + 1 if self._nothing_waits() else 0
            if self._empty_looks >= _DRAIN_LOOKS:
                self.stop()

    def _nothing_waits(self) -> bool:
        try:
            return self.consumer.flush(_FLUSH_SECONDS) and not self.consumer.waiting()
        except TransportError:
            return False  # it reconnects meanwhile


def make_subscription(
    name: str,
    binding_keys: Iterable[str],
    dead_letter: bool | None,
    durable: bool,
    exclusive: bool,
    auto_delete: bool,
    max_retries: int,
    backoff: Backoff | None = None,
) -> Subscription:
    """Check the arguments of `Subscriber.register`; raises `HandlerError`."""
    check_handler_name(name)
    check_retries(max_retries, backoff)
    is_lasting = not (exclusive or auto_delete)
    return Subscription(
        name=name,
        binding_keys=check_binding_keys(binding_keys),
        dead_letter=is_lasting if dead_letter is None else bool(dead_letter),
        durable=bool(durable),
        exclusive=bool(exclusive),
        auto_delete=bool(auto_delete),
        retries=max_retries > 0 or (backoff is not None and backoff.max_retries > 0),
    )


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
