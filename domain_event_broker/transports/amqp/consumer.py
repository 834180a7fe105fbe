"""The consuming side: one connection, a channel for each subscription, settling in safe order."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Container
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from ...errors import (
    BrokerUnavailable,
    ConfigurationError,
    DomainEventBrokerError,
    TransportClosed,
)
from ...messages import Message
from ...settings import Settings
from ..base import Consumer, Delivery, Subscription, already_subscribed
from .connection import ConnectionThread
from .moving import Moves
from .pika_connection import Connection
from .publisher import Publisher
from .reclaiming import Reclaimer
from .restoring import Restorer
from .subscription import SubscriptionChannel, channel_of
from .targets import dead_letter_target, retry_target, return_target

log = logging.getLogger(__name__)

# Longer than pika's own limits for opening a connection, which end it with a reason.
_SUBSCRIBE_SECONDS = 60.0
_COUNT_SECONDS = 5.0
# So long after it connected or started, all that may have ended a process is handled before the
# next handler starts, and beside it no handler is given more than one event. Not for ever: a stop,
# too, leaves what was delivered before, and handlers may be slow.
_CAUTION_SECONDS = 15.0
# How long a stop waits for what is being handled before it gives the rest back.
_GIVE_BACK_SECONDS = 1.0


class AmqpConsumer(Consumer):
    """Receives for any number of subscriptions.

    The connection's thread fills a queue that `receive` empties.
    """

    def __init__(self, settings: Settings, publisher: Callable[[], Publisher]) -> None:
        self._settings = settings
        self._thread = ConnectionThread(settings, "subscriber", self)
        self._channels: dict[str, SubscriptionChannel] = {}
        self._moves = Moves(self._thread, publisher, self)
        self._restorer = Restorer(self._thread, settings.exchange, self._channels)
        self._reclaimer = Reclaimer(self._thread, settings, publisher, self._channels)
        self.forget()

    def forget(self) -> None:
        # In a forked child, the parent's threads may have left these locked.
        self._lock = threading.Lock()
        self._settled = threading.Condition(self._lock)
        self._unsettled = 0
        # Of those, what is decided and goes out with the next `on_posted`.
        self._untold = 0
        # What came, and what of it can be received.
        self._arrived: list[Delivery] = []
        self._received: SimpleQueue[Delivery | None] = SimpleQueue()
        self._connection: Connection | None = None
        # What a caller of `receive` has and the broker was not told about.
        self._taken: set[Any] = set()
        # Those with acknowledgements to send, and those that wait for what was too slow.
        self._acknowledging: set[SubscriptionChannel] = set()
        self._timed_out: set[SubscriptionChannel] = set()
        # What nobody took before `stop`, and whether it still waits for what was taken.
        self._unwanted: list[Delivery] = []
        self._is_ending = self._is_quiet = False
        # By `time.monotonic`.
        self._cautious_until = 0.0
        # Why nothing can be consumed.
        self._refusal: ConfigurationError | None = None
        self._moves.forget()
        self._restorer.forget()
        self._reclaimer.forget()
        for channel in self._channels.values():
            channel.forget()
        self._unstarted: deque[SubscriptionChannel] = deque()
        self._is_started = False
        self._is_closed = False

    # From any thread

    def subscribe(self, subscription: Subscription) -> None:
        if self._is_closed:
            raise TransportClosed("This consumer is closed.")
        channel = SubscriptionChannel(subscription, self._settings, self._thread, self)
        self._thread.post(partial(self._add, channel))
        try:
            channel.declared.result(_SUBSCRIBE_SECONDS)
        except FutureTimeout:
            raise BrokerUnavailable(
                f"No answer from {self._thread.node.safe_url} in {_SUBSCRIBE_SECONDS:g} s."
            ) from None
        finally:
            if not channel.is_established:
                self._thread.post(partial(self._remove, channel))

    def start(self) -> None:
        self._is_started = True
        self._thread.post(self._start)

    def receive(self, timeout_seconds: float, without: Container[str] = ()) -> Delivery | None:
        deadline = time.monotonic() + timeout_seconds
        while self._is_started:
            try:
                delivery = self._next_received(deadline)
            except Empty:
                if self._thread.is_closing and not self._is_closed:
                    raise TransportClosed("The connection's thread has ended.") from None
                return None
            if delivery is None:
                self._received.put(None)  # for the next thread that waits
                if self._refusal is not None:
                    raise self._refusal
                return None
            if self.holds(delivery):
                self._taken.add(delivery.token)
                return delivery
        return None

    def _next_received(self, deadline: float) -> Delivery | None:
        try:
            return self._received.get_nowait()
        except Empty:
            self._thread.hurry()  # more may come for what was settled
            return self._received.get(timeout=max(deadline - time.monotonic(), 0))

    def look_again(self) -> None:
        """The broker sends what there is, up to the prefetch, whoever has room for it."""

    def holds(self, delivery: Delivery) -> bool:
        return channel_of(delivery).is_current(delivery)

    def ack(self, delivery: Delivery) -> None:
        self._settle(partial(self._ack, delivery))

    def retry(self, delivery: Delivery, message: Message, due_at_ms: int) -> None:
        target = partial(retry_target, self._settings, delivery.subscription, message, due_at_ms)
        self._settle(partial(self._moves.begin, delivery, target))

    def dead_letter(self, delivery: Delivery, message: Message) -> None:
        target = partial(dead_letter_target, self._settings, delivery.subscription, message)
        self._settle(partial(self._moves.begin, delivery, target))

    def release(self, delivery: Delivery) -> None:
        self._settle(partial(self._release, delivery))

    def _settle(self, work: Callable[[], None]) -> None:
        with self._lock:
            self._unsettled += 1
        try:
            self._thread.post_soon(work)
        except TransportClosed:
            self._done()  # it comes back by itself

    def waiting(self) -> int:
        counts: Future[list[Future[int]]] = Future()
        self._thread.post(partial(self._ask_counts, counts))
        deadline = time.monotonic() + _COUNT_SECONDS
        try:
            answers = counts.result(_COUNT_SECONDS)
            return sum(answer.result(max(deadline - time.monotonic(), 0)) for answer in answers)
        except FutureTimeout:
            raise BrokerUnavailable("The broker did not answer.") from None

    def stop(self) -> None:
        if self._is_closed or not self._is_started:
            return
        self._is_started = False
        self._settle(self._stop)
        self._received.put(None)

    def flush(self, timeout_seconds: float) -> bool:
        with self._settled:
            return self._settled.wait_for(lambda: not self._unsettled, timeout_seconds)

    def close(self, timeout_seconds: float = 5.0) -> None:
        if self._is_closed:
            return
        self.stop()
        deadline = time.monotonic() + timeout_seconds
        if not self.flush(timeout_seconds):
            log.warning("Not all is settled after %g s; the rest comes again.", timeout_seconds)
        with suppress(TransportClosed):
            self._thread.post(self._release_unwanted)
        self._is_closed = True
        self._restorer.forget()
        self._reclaimer.forget()
        self._thread.close(max(deadline - time.monotonic(), 1.0))

    # In the connection's thread

    def wants_connection(self) -> bool:
        return bool(self._channels) and not self._is_closed

    def on_open(self, connection: Connection) -> None:
        self._connection = connection
        self._be_cautious()
        connection.after_reading = self._hand_over
        for channel in self._channels.values():
            channel.open(connection)
        self._restorer.begin(connection)
        self._reclaimer.begin(connection)

    def on_lost(self, error: DomainEventBrokerError) -> None:
        self._connection = None
        self._restorer.forget()
        self._reclaimer.forget()
        self._moves.lost()
        self._taken.clear()
        unwanted, self._unwanted = self._unwanted, []
        if unwanted:
            self._done(len(unwanted))
        unstarted, self._unstarted = self._unstarted, deque()
        for channel in list(self._channels.values()):
            channel.disconnected(error)
            if not channel.is_established:
                self._remove(channel)
        for channel in unstarted:
            channel.start()

    def on_posted(self) -> None:
        # Not all of them each time: there may be a thousand.
        acknowledging, self._acknowledging = self._acknowledging, set()
        for channel in acknowledging:
            channel.flush()
        for channel in self._timed_out.copy():
            channel.on_idle()
            if not channel.is_timed_out:
                self._timed_out.discard(channel)
        self._release_in_time()
        untold, self._untold = self._untold, 0
        if untold:
            self._done(untold)

    # Of the channels

    def on_delivery(self, delivery: Delivery) -> None:
        self._arrived.append(delivery)

    def _hand_over(self) -> None:
        """All that came together at once, so that whoever waits is woken once."""
        for delivery in self._arrived:
            self._received.put(delivery)
        self._arrived.clear()

    def on_unwanted(self, delivery: Delivery) -> None:
        """Release what no caller of `receive` has taken, in time."""
        with self._lock:
            self._unsettled += 1
        self._unwanted.append(delivery)

    def on_refused(self, error: ConfigurationError) -> None:
        self._refusal = error
        self._received.put(None)

    def on_timed_out(self, channel: SubscriptionChannel) -> frozenset[Any]:
        self._timed_out.add(channel)
        return self.being_handled()

    def being_handled(self) -> frozenset[Any]:
        return frozenset(self._taken)

    def is_cautious(self) -> bool:
        return time.monotonic() <= self._cautious_until

    def may_widen(self) -> bool:
        if not self.is_cautious():
            return True
        is_starting = bool(self._unstarted)
        return not (is_starting or any(each.may_have_suspect for each in self._channels.values()))

    def on_missing_exchange(self) -> None:
        self._restorer.on_missing()

    # Of the moves

    def on_copied(self, delivery: Delivery) -> None:
        self._ack(delivery)

    def on_not_copied(self, delivery: Delivery) -> None:
        self._taken.discard(delivery.token)
        self._done()
        channel_of(delivery).on_idle()

    def on_given_up(self) -> None:
        self._done()

    # Subscribing and stopping

    def _add(self, channel: SubscriptionChannel) -> None:
        name = channel.subscription.name
        if name in self._channels:
            channel.declared.set_exception(already_subscribed(name))
            return
        self._channels[name] = channel
        if self._is_started:
            channel.start()
        if self._connection is not None:
            channel.open(self._connection)
        else:
            self._thread.open()

    def _remove(self, channel: SubscriptionChannel) -> None:
        if self._channels.get(channel.subscription.name) is channel:
            del self._channels[channel.subscription.name]
        channel.abandon()

    def _start(self) -> None:
        self._unstarted = deque(self._channels.values())
        self._be_cautious()  # the connection may have been open for long
        self._start_next()
        if self._connection is None:
            self._thread.open()

    def _be_cautious(self) -> None:
        self._cautious_until = time.monotonic() + _CAUTION_SECONDS

    def _start_next(self) -> None:
        """Start the subscriptions, each when those before it are safe.

        An event that ends the process counts a delivery for all that the process holds. Where
        one waits that may have done so, it is handled first, with nothing else at hand: or it
        would take the first event of each other subscription with it.
        """
        while self._unstarted:
            channel = self._unstarted.popleft()
            channel.start(on_safe=self._start_next)
            if channel.is_starting:
                return

    def _stop(self) -> None:
        """Give back what nobody took; done when no channel can bring more."""
        self._is_ending = True
        self._unstarted.clear()
        running = set(self._channels.values())

        def on_stopped(channel: SubscriptionChannel) -> None:
            running.discard(channel)
            if not running:
                self._is_quiet = True
                self._release_in_time()
                self._done()

        if not running:
            self._done()
        for channel in list(running):
            channel.stop(partial(on_stopped, channel))
        while True:
            try:
                delivery = self._received.get_nowait()
            except Empty:
                break
            if delivery is not None:
                self.on_unwanted(delivery)
        self._received.put(None)
        self._thread.loop.call_later(_GIVE_BACK_SECONDS, self._release_unwanted)

    def _release_in_time(self) -> None:
        if self._unwanted and self._is_quiet and not self._taken:
            self._release_unwanted()

    def _release_unwanted(self) -> None:
        """Release all that nobody took, after what was taken was acknowledged.

        A broker that gets hundreds of single nacks may forget the ack that comes after them where
        the channel is closed soon (seen on 3.10, 4.0 and 4.3): the event would come twice.
        """
        unwanted, self._unwanted = self._unwanted, []
        harmless = [delivery for delivery in unwanted if not self._is_suspect(delivery)]
        for delivery in unwanted:
            if self._is_suspect(delivery):
                self._release(delivery)
        for channel in {channel_of(delivery) for delivery in harmless}:
            channel.release([d for d in harmless if channel_of(d) is channel])
        if harmless:
            self._done(len(harmless))

    def _ask_counts(self, counts: Future[list[Future[int]]]) -> None:
        counts.set_result([channel.count() for channel in self._channels.values()])

    def _ack(self, delivery: Delivery) -> None:
        channel = channel_of(delivery)
        channel.settle(delivery)
        self._acknowledging.add(channel)
        self._taken.discard(delivery.token)
        # Not done before it is told: who waits for that may close the connection at once.
        self._untold += 1

    def _release(self, delivery: Delivery) -> None:
        if self._is_suspect(delivery):
            self._moves.begin(delivery, partial(return_target, delivery))
            return
        self._taken.discard(delivery.token)
        if self._is_ending:
            # Together with all that nobody took: those who handle give back many at once.
            if not self._unwanted:
                self._thread.loop.call_later(_GIVE_BACK_SECONDS, self._release_unwanted)
            self._unwanted.append(delivery)
            return
        channel_of(delivery).release([delivery])
        self._done()

    def _is_suspect(self, delivery: Delivery) -> bool:
        """Whether one delivery more without an outcome would make a poison of it.

        Before RabbitMQ 4.3 giving back is one. A copy goes back instead, whose count begins anew.
        """
        return delivery.crashes + 1 >= self._settings.crash_attempts

    def _done(self, count: int = 1) -> None:
        with self._settled:
            self._unsettled -= count
            if not self._unsettled:
                self._settled.notify_all()
