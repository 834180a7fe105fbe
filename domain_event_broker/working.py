"""The threads that run handlers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from queue import SimpleQueue

from .allowance import Allowance
from .errors import TransportError
from .handling import Ending, Registration, Report
from .transports.base import Consumer
from .turns import SideBySide, SingleFile
from .values import value

# How often a thread that waits looks whether it should still wait; what ends the wait wakes it.
_IDLE_SECONDS = 1.0
# Draining asks the broker whether all is done after this long without an event.
_DRAIN_POLL_SECONDS = 0.05
# Once the queues looked empty, receive and look again: a delivery may have been on its way.
_DRAIN_LOOKS = 2
_FLUSH_SECONDS = 5.0
# Endings that call no handler.
_UNCOUNTED = (Ending.POSTPONED, Ending.DUPLICATE, Ending.RELEASED)


@value
class Orders:
    """What the threads of a crew are told."""

    threads: int
    drain: bool
    #: Runs of handlers, after which they end.
    max_events: int | None
    on_report: Callable[[Report], None]
    #: Called by each thread when it ends.
    on_end: Callable[[], None]
    is_asked_to_stop: Callable[[], bool]


class Crew:
    """Threads that receive, and handle what they receive, until told to stop.

    :param finished: gets an item when one of them ends.
    """

    def __init__(
        self,
        consumer: Consumer,
        registrations: Mapping[str, Registration],
        orders: Orders,
        finished: SimpleQueue[None],
    ) -> None:
        self.consumer = consumer
        self._registrations = registrations
        self._orders = orders
        self._finished = finished
        kind = SingleFile if orders.threads == 1 else SideBySide
        self._turns = kind(consumer, self._look_whether_all_is_done)
        self._runs = Allowance(orders.max_events)
        self._wait_seconds = _DRAIN_POLL_SECONDS if orders.drain else _IDLE_SECONDS
        self._empty_looks = 0
        self._is_stopping = False
        #: Whether there is nothing more to do, or to be done: a thread that ends, ends all.
        self.is_finished = False
        #: What ended a thread that was not to end.
        self.error: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._run, name="domain-event-handlers", daemon=True)
            for _ in range(orders.threads)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Begin nothing more; give back what nobody began."""
        self._is_stopping = True
        self._runs.close()
        self._turns.stop()

    def join(self, timeout_seconds: float | None) -> bool:
        """Wait until what runs has ended, or so long; tell whether it has."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(None if deadline is None else max(deadline - time.monotonic(), 0.0))
        return not any(thread.is_alive() for thread in self._threads)

    # In each thread

    def _run(self) -> None:
        try:
            while not self._is_done():
                self._handle_next()
        except BaseException as error:  # reaches the caller of start_consuming
            self.error = self.error or error
        finally:
            self._orders.on_end()
            self.is_finished = True
            self._finished.put(None)

    def _is_done(self) -> bool:
        return self._is_stopping or self._orders.is_asked_to_stop() or self._runs.is_spent

    def _handle_next(self) -> None:
        if not self._runs.reserve(self._wait_seconds):
            return
        delivery = self._turns.take(self._wait_seconds)
        if delivery is None:
            self._runs.give_back()
            return
        self._empty_looks = 0
        try:
            registration = self._registrations[delivery.subscription.name]
            self._note(registration.process(delivery, self.consumer))
        finally:
            self._turns.end(delivery)

    def _note(self, report: Report) -> None:
        if report.ending in _UNCOUNTED:
            self._runs.give_back()
        else:
            self._runs.spend()
        self._orders.on_report(report)

    def _look_whether_all_is_done(self) -> None:
        """End after two looks in a row at nothing, between which somebody received in vain."""
        if not self._orders.drain or self._is_done():
            return
        self._empty_looks = self._empty_looks + 1 if self._nothing_waits() else 0
        if self._empty_looks >= _DRAIN_LOOKS:
            self._is_stopping = True

    def _nothing_waits(self) -> bool:
        try:
            return (
                self._turns.is_idle()
                and self.consumer.flush(_FLUSH_SECONDS)
                and not self.consumer.waiting()
            )
        except TransportError:
            return False  # it reconnects meanwhile
