"""The consuming side: one connection, a channel for each subscription, settling in safe order."""

from __future__ import annotations

import itertools
import logging
import random
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
from ...handling import event_id
from ...messages import Message
from ...retrying import backoff_seconds
from ...settings import Settings
from ..base import (
    Consumer,
    Delivery,
    Outcome,
    PublishResult,
    Subscription,
    already_subscribed,
)
from .batches import Outgoing
from .connection import ConnectionThread
from .pika_connection import Connection
from .publisher import Publisher
from .subscription import MISSING_EXCHANGE_SECONDS, SubscriptionChannel
from .targets import dead_letter_target, retry_target, return_target

log = logging.getLogger(__name__)

# Longer than pika's own limits for opening a connection, which end it with a reason.
_SUBSCRIBE_SECONDS = 60.0
_COUNT_SECONDS = 5.0
# How long a stop waits for what is being handled before it gives the rest back.
_GIVE_BACK_SECONDS = 1.0
# A move that the broker does not take is tried again, ever slower.
_MOVE_BASE_SECONDS = 0.2
_MOVE_MAX_SECONDS = 30.0
# How often it is looked whether the exchange is there, which costs the broker next to nothing.
_LOOK_SECONDS = 1.0
# How often, more or less, queues are bound again. That nobody can look for, and to bind what is
# bound costs RabbitMQ 4.3 a write.
_BIND_SECONDS = 30.0

#: Where a moved message goes, at attempt number 0, 1, ...
Target = Callable[[int], Outgoing]


class AmqpConsumer(Consumer):
    """Receives for any number of subscriptions.

    The connection's thread fills a queue that `receive` empties. Moves (retry, dead letter) go
    out through the process's publishing connection, so that a broker that blocks publishers
    still takes acknowledgements.
    """

    def __init__(self, settings: Settings, publisher: Callable[[], Publisher]) -> None:
        self._settings = settings
        self._publisher = publisher
        self._thread = ConnectionThread(settings, "subscriber", self)
        self._channels: dict[str, SubscriptionChannel] = {}
        self._keys = itertools.count()
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
        # Timers of moves that are tried again later.
        self._held: dict[int, Any] = {}
        # Why nothing can be consumed.
        self._refusal: ConfigurationError | None = None
        self._is_exchange_missing = False
        self._bind_at = 0.0
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
        return _channel(delivery).is_current(delivery)

    def ack(self, delivery: Delivery) -> None:
        self._settle(partial(self._ack, delivery))

    def retry(self, delivery: Delivery, message: Message, due_at_ms: int) -> None:
        target = partial(retry_target, self._settings, delivery.subscription, message, due_at_ms)
        self._settle(partial(self._move, delivery, target))

    def dead_letter(self, delivery: Delivery, message: Message) -> None:
        target = partial(dead_letter_target, self._settings, delivery.subscription, message)
        self._settle(partial(self._move, delivery, target))

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
        self._thread.close(max(deadline - time.monotonic(), 1.0))

    # In the connection's thread

    def wants_connection(self) -> bool:
        return bool(self._channels) and not self._is_closed

    def on_open(self, connection: Connection) -> None:
        self._connection = connection
        connection.after_reading = self._hand_over
        self._is_exchange_missing = False
        self._bind_at = _next_binding()
        for channel in self._channels.values():
            channel.open(connection)
        self._look_later(connection)

    def on_lost(self, error: DomainEventBrokerError) -> None:
        self._connection = None
        held, self._held = self._held, {}
        for timer in held.values():
            self._thread.loop.remove_timeout(timer)
            self._done()  # the original comes back
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

    def on_missing_exchange(self) -> None:
        if self._is_exchange_missing:
            return
        self._is_exchange_missing = True
        log.error(
            "The exchange %r was deleted, and events that were published since have reached "
            "nobody. It is declared anew, and the queues of %s are bound to it again.",
            self._settings.exchange,
            ", ".join(sorted(self._channels)),
        )
        self._thread.loop.call_later(
            MISSING_EXCHANGE_SECONDS, partial(self._restore_exchange, self._connection)
        )

    def _restore_exchange(self, connection: Connection | None) -> None:
        if connection is self._connection:
            self._is_exchange_missing = False
            self._bind()

    def _look_later(self, connection: Connection) -> None:
        self._thread.loop.call_later(_LOOK_SECONDS, partial(self._look, connection))

    def _look(self, connection: Connection) -> None:
        """See now and then that what others may take away is there."""
        if connection is not self._connection or self._is_closed:
            return
        if not self._is_exchange_missing:
            any(channel.look_for_exchange() for channel in self._channels.values())
            if time.monotonic() >= self._bind_at:
                self._bind()
        self._look_later(connection)

    def _bind(self) -> None:
        self._bind_at = _next_binding()
        for channel in self._channels.values():
            channel.bind()

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
        self._start_next()
        if self._connection is None:
            self._thread.open()

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
        for channel in {_channel(delivery) for delivery in harmless}:
            channel.release([d for d in harmless if _channel(d) is channel])
        if harmless:
            self._done(len(harmless))

    def _ask_counts(self, counts: Future[list[Future[int]]]) -> None:
        counts.set_result([channel.count() for channel in self._channels.values()])

    def _ack(self, delivery: Delivery) -> None:
        channel = _channel(delivery)
        channel.settle(delivery)
        self._acknowledging.add(channel)
        self._taken.discard(delivery.token)
        # Not done before it is told: who waits for that may close the connection at once.
        self._untold += 1

    def _release(self, delivery: Delivery) -> None:
        if self._is_suspect(delivery):
            self._move(delivery, partial(return_target, delivery))
            return
        self._taken.discard(delivery.token)
        if self._is_ending:
            # Together with all that nobody took: those who handle give back many at once.
            if not self._unwanted:
                self._thread.loop.call_later(_GIVE_BACK_SECONDS, self._release_unwanted)
            self._unwanted.append(delivery)
            return
        _channel(delivery).release([delivery])
        self._done()

    def _is_suspect(self, delivery: Delivery) -> bool:
        """Whether one delivery more without an outcome would make a poison of it.

        Before RabbitMQ 4.3 giving back is one. A copy goes back instead, whose count begins anew.
        """
        return delivery.crashes + 1 >= self._settings.crash_attempts

    def _move(self, delivery: Delivery, target: Target, attempt: int = 0) -> None:
        """Publish a copy where `target` says; acknowledge once that is confirmed."""
        _channel(delivery).safe()
        if not _channel(delivery).is_current(delivery):
            self._taken.discard(delivery.token)
            self._done()
            _channel(delivery).on_idle()
            return

        def on_done(results: list[PublishResult]) -> None:
            # In the publisher's thread.
            try:
                self._thread.post(partial(self._on_moved, delivery, target, attempt, results[0]))
            except TransportClosed:
                self._done()

        try:
            self._publisher().publish([target(attempt)], on_done)
        except TransportClosed as error:
            closed = PublishResult(Outcome.UNKNOWN, error)
            self._on_moved(delivery, target, attempt, closed)

    def _on_moved(
        self,
        delivery: Delivery,
        target: Target,
        attempt: int,
        result: PublishResult,
    ) -> None:
        channel = _channel(delivery)
        if result.outcome is Outcome.CONFIRMED:
            self._ack(delivery)
            return
        is_forbidden = isinstance(result.error, ConfigurationError)
        if result.outcome is not Outcome.REFUSED and not is_forbidden:
            # Somebody may have deleted the queue, or the exchange, that it should go to.
            channel.declare(delays=True)
        delay_seconds = backoff_seconds(attempt, _MOVE_BASE_SECONDS, _MOVE_MAX_SECONDS)
        log.log(
            _level_of_move(attempt, is_forbidden=is_forbidden),
            "%s: event %s is held and moved again in %.1f s: %s",
            delivery.subscription.name,
            event_id(delivery.message),
            delay_seconds,
            result.error or result.outcome.value,
        )
        key = next(self._keys)
        self._held[key] = self._thread.loop.call_later(
            delay_seconds, partial(self._move_again, key, delivery, target, attempt + 1)
        )

    def _move_again(self, key: int, delivery: Delivery, target: Target, attempt: int) -> None:
        if self._held.pop(key, None) is not None:
            self._move(delivery, target, attempt)

    def _done(self, count: int = 1) -> None:
        with self._settled:
            self._unsettled -= count
            if not self._unsettled:
                self._settled.notify_all()


def _level_of_move(attempt: int, *, is_forbidden: bool) -> int:
    if is_forbidden:
        return logging.INFO if attempt else logging.ERROR
    return logging.WARNING if attempt else logging.INFO


def _next_binding() -> float:
    return time.monotonic() + _BIND_SECONDS * random.uniform(0.5, 1.5)


def _channel(delivery: Delivery) -> SubscriptionChannel:
    channel: SubscriptionChannel = delivery.token[0]
    return channel
