"""One subscription on one channel of the consuming connection; all in the connection's thread."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

import pika
import pika.exceptions
from pika.channel import Channel

from ...encoding import integer_header
from ...errors import BrokerUnavailable, ConfigurationError, DomainEventBrokerError
from ...handling import event_id
from ...settings import Settings
from ..base import Delivery, Subscription
from .acknowledgements import Acknowledgements
from .caution import Caution
from .connection import ConnectionThread
from .declaring import Declaration
from .errors import is_consumer_timeout, is_missing_exchange, is_missing_queue, translate
from .pacing import Pacing
from .pika_connection import Connection, cancel_keeping_deliveries
from .watcher import Watcher
from .wire import to_message

log = logging.getLogger(__name__)

# Until a new event was settled: a poison that kills the process then takes no neighbour with it.
_NARROW = 1
_DELIVERY_COUNT = "x-delivery-count"
# RabbitMQ 4.3 may answer just after a queue was deleted that it is there.
_SECOND_LOOK_SECONDS = 0.2
#: Who notices that the exchange is gone leaves it so for a while, for others to notice as well:
#: once it is there again, nothing says that their queues are not bound.
MISSING_EXCHANGE_SECONDS = 1.5


class SubscriptionChannel:
    """Declares a handler's queue, consumes it, and restores both after any loss.

    Tags belong to one opening of the channel, its generation; what is settled later than that is
    dropped, since the broker has given it back already.
    """

    def __init__(
        self,
        subscription: Subscription,
        settings: Settings,
        thread: ConnectionThread,
        watcher: Watcher,
    ) -> None:
        self.subscription = subscription
        #: Ends when the queue was declared and bound for the first time, or could not be.
        self.declared: Future[None] = Future()
        self.channel: Channel | None = None
        self._settings = settings
        self._thread = thread
        self._watcher = watcher
        self._declaration = Declaration(settings, subscription)
        self._connection: Connection | None = None
        self._acks = Acknowledgements()
        self._generation = 0
        self._is_declared = False
        self._wants_deliveries = False
        self._consumer_tag: str | None = None
        self._is_established = False
        self._is_abandoned = False
        self._is_narrow = True
        self._is_widening = False
        self._caution = Caution(thread, watcher.is_cautious, self._ask_count)
        self._on_stopped: Callable[[], None] | None = None
        self._counts: deque[Future[int]] = deque()
        # Whether it is seen whether the queue is still there, and what came of the last time.
        self._is_looking = self._is_looking_again = False
        self._is_known_gone = False
        # By the broker, without a word of why.
        self._is_cancelled = False
        # Whether what was delivered took too long to be acknowledged.
        self._is_timed_out = False
        # What was being handled when it was timed out.
        self._slow: frozenset[Any] = frozenset()
        self._has_consumed = False
        self._pacing = Pacing(settings)
        self._prefetch = subscription.prefetch(settings)
        self._timer: Any = None

    @property
    def is_timed_out(self) -> bool:
        """Whether it consumes again only when what was too slow has ended."""
        return self._is_timed_out

    @property
    def is_established(self) -> bool:
        """Whether it was declared once, so that it is to be restored."""
        return self._is_established

    # Opening

    def open(self, connection: Connection) -> None:
        self._connection = connection
        self._timer = None
        self._generation += 1
        self._acks = Acknowledgements()
        self._is_declared = False
        self._consumer_tag = None
        self._is_narrow, self._is_widening = self._begins_narrow, False
        self._caution.opened()
        try:
            connection.channel(on_open_callback=self._on_open)
        except pika.exceptions.NoFreeChannels as reason:
            self._fail(translate(reason, self._thread.node))

    def _on_open(self, channel: Channel) -> None:
        if self._is_abandoned:
            channel.close()
            return
        self.channel = channel
        channel.add_on_close_callback(self._on_closed)
        channel.add_on_cancel_callback(self._on_cancelled_by_broker)
        self._is_looking = self._is_established and self._should_be_there
        self._is_looking_again = False
        if self._is_looking:
            self._look(channel)
        else:
            self._declare_all()

    def _look(self, channel: Channel) -> None:
        """See whether the queue is there; where it is not, the channel is closed."""
        is_current = channel is self.channel
        if is_current and channel.is_open:
            channel.queue_declare(self.subscription.name, passive=True, callback=self._on_there)

    @property
    def _should_be_there(self) -> bool:
        """Whether a queue that is gone has taken events along that somebody relied on."""
        is_kept = self.subscription.is_lasting and self.subscription.durable
        # One that goes with its consumer should be there as long as that is.
        return (is_kept or self._is_cancelled) and not self._is_known_gone

    def _on_there(self, frame: Any) -> None:
        if self._is_cancelled and not self._is_looking_again:
            self._is_looking_again = True
            self._thread.loop.call_later(_SECOND_LOOK_SECONDS, partial(self._look, self.channel))
            return
        self._is_looking = self._is_looking_again = False
        if self._is_cancelled:
            self._is_cancelled = False
            # From RabbitMQ 4.3 on, what took too long to be acknowledged ends so.
            self._time_out()
            log.error(
                "%s: the broker cancelled the consumer, though there is a queue: a handler took "
                "longer than consumer_timeout, or the queue's leader moved, or somebody deleted "
                "the queue and declared it anew, and the events that waited in it are lost.",
                self.subscription.name,
            )
        self._declare_all()

    def _declare_all(self) -> None:
        channel = self._open_channel
        if channel is None:
            return
        self._declaration.send(channel, delays=self.subscription.retries)
        prefetch = _NARROW if self._is_narrow else self._prefetch
        channel.basic_qos(prefetch_count=prefetch, callback=self._on_declared)

    @property
    def _begins_narrow(self) -> bool:
        # A queue that goes with its consumer counts no crashes, and would go when it is widened.
        return self.subscription.is_lasting

    def declare(self, *, delays: bool) -> None:
        """Declare everything again, where that is ours to do; harmless where it is there."""
        channel = self._open_channel
        if channel is not None and self._is_declared and self._declaration.is_ours:
            self._declaration.send(channel, delays=delays)

    def bind(self) -> None:
        """Bind the queue again, where that is ours to do, should somebody have unbound it."""
        channel = self._open_channel
        if channel is not None and self._is_declared:
            self._declaration.bind(channel)

    def look_for_exchange(self) -> bool:
        """Have the broker tell if the exchange is gone, which costs this channel.

        False where this cannot be asked now.
        """
        channel = self._open_channel
        if channel is None or not self._is_declared or not self._declaration.is_ours:
            return False
        channel.exchange_declare(self._settings.exchange, passive=True)
        return True

    def _on_declared(self, frame: Any) -> None:
        if self._is_abandoned:
            return
        self._is_declared = True
        self._is_established = True
        self._is_known_gone = False
        self._thread.settled()
        if not self.declared.done():
            self.declared.set_result(None)
        if not self._wants_deliveries:
            self._works()
        elif not self._is_timed_out:
            self._consume()
        else:
            self.on_idle()

    # Consuming

    def start(self, on_safe: Callable[[], None] | None = None) -> None:
        """Begin to consume, now or as soon as the queue is declared.

        `on_safe` is called, unless it `is_starting` no more at the return, once what waits first
        in the queue is known not to end the process: it went well, or nothing says it might.
        """
        self._wants_deliveries = True
        if self._may_consume:
            self._caution.begin(on_safe)
            # Asked before consuming: what is delivered counts as waiting no more.
            self._ask_count(self._on_first_count)

    @property
    def _may_consume(self) -> bool:
        is_consuming = self._consumer_tag is not None or self._is_widening
        is_ready = self._is_declared and self._is_open and not is_consuming
        return self._wants_deliveries and is_ready

    @property
    def _open_channel(self) -> Channel | None:
        return self.channel if self.channel is not None and self.channel.is_open else None

    @property
    def _is_open(self) -> bool:
        return self._open_channel is not None

    @property
    def is_starting(self) -> bool:
        return self._caution.is_starting

    @property
    def may_have_suspect(self) -> bool:
        """Whether an event is here, or may be next, that may have ended a process before.

        What is delivered beside it counts a crash, too: until then, others take one at a time.
        """
        return self._caution.expects_suspect or self._acks.is_open(self._caution.suspect_tag)

    def _on_first_count(self, message_count: int) -> None:
        if self._may_consume:
            self._consume()
        self._caution.counted(message_count)

    def safe(self) -> None:
        """What could have ended the process before was handled, or there is nothing like that."""
        self._caution.safe()

    def _consume(self) -> None:
        assert self.channel is not None
        self._consumer_tag = self.channel.basic_consume(
            self.subscription.name,
            on_message_callback=self._on_message,
            callback=lambda frame: self._works(),
        )

    def _time_out(self) -> None:
        self._is_timed_out = True
        self._slow = self._watcher.on_timed_out(self)

    def on_idle(self) -> None:
        """Consume again after a timeout, unless what was being handled then still is.

        What came meanwhile would only wait, and run into the same timeout: each time a delivery
        without an outcome, until it were taken for a poison.
        """
        if self._is_timed_out and self._slow.isdisjoint(self._watcher.being_handled()):
            self._is_timed_out = False
            if self._may_consume:
                self._consume()

    def _works(self) -> None:
        self._has_consumed = self._has_consumed or self._wants_deliveries
        if self._pacing.works():
            log.warning("%s: goes on.", self.subscription.name)

    def stop(self, on_stopped: Callable[[], None]) -> None:
        """Cancel the consumer; what still comes is given back.

        `on_stopped` is called when nothing can come any more. Closing before that would leave
        deliveries on their way, which count as failed on RabbitMQ 4.3.
        """
        self._wants_deliveries = False
        self._caution.end()
        self._on_stopped = on_stopped
        if self._is_widening:
            return  # it is being cancelled already
        if self._consumer_tag is None or not self._is_open:
            self._stopped()
            return
        cancel_keeping_deliveries(
            self.channel, self._consumer_tag, callback=lambda frame: self._stopped()
        )
        self._consumer_tag = None

    def _stopped(self) -> None:
        on_stopped, self._on_stopped = self._on_stopped, None
        if on_stopped is not None:
            on_stopped()

    def _on_message(
        self, channel: Channel, method: Any, properties: pika.BasicProperties, body: bytes
    ) -> None:
        if channel is not self.channel:
            return  # of a connection that was given up
        self._acks.delivered(method.delivery_tag)
        message = to_message(method.routing_key, properties, body)
        delivery = Delivery(
            message,
            self.subscription,
            # On a first delivery the header is its publisher's, such as a shovel's.
            crashes=integer_header(message.headers, _DELIVERY_COUNT) if method.redelivered else 0,
            token=(self, self._generation, method.delivery_tag, method.redelivered),
        )
        self._caution.received(method.delivery_tag, delivery.crashes)
        if self._wants_deliveries:
            self._watcher.on_delivery(delivery)
        else:
            self._watcher.on_unwanted(delivery)

    # Settling

    def is_current(self, delivery: Delivery) -> bool:
        """Whether `delivery` can still be settled."""
        return delivery.token[1] == self._generation and self._is_open

    def settle(self, delivery: Delivery) -> None:
        """Mark as acknowledged; `flush` tells the broker."""
        self._caution.settled(delivery.crashes)
        _, generation, tag, redelivered = delivery.token
        if generation != self._generation:
            log.info(
                "%s: event %s was settled after its connection was lost; it comes again.",
                self.subscription.name,
                event_id(delivery.message),
            )
        elif self._acks.settled(tag) and self._is_narrow:
            if delivery.crashes:
                self._caution.expect_another()
            elif not redelivered and self._watcher.may_widen():
                self._widen()

    def release(self, deliveries: Sequence[Delivery]) -> None:
        """Give back. By nack: on RabbitMQ 4.3, reject would count as a failed delivery."""
        current = [delivery for delivery in deliveries if self.is_current(delivery)]
        self.flush()
        for tag, multiple in self._acks.release(delivery.token[2] for delivery in current):
            assert self.channel is not None
            self.channel.basic_nack(tag, multiple=multiple, requeue=True)

    def flush(self) -> None:
        """Send the acknowledgements, unless they wait for the consumer to be widened."""
        channel, connection = self._open_channel, self._connection
        if channel is None or connection is None or self._is_widening:
            return
        for tag, multiple in self._acks.take():
            connection.acknowledge(channel, tag, multiple=multiple)

    def _widen(self) -> None:
        """From one delivery at a time to the full prefetch, by cancel and consume.

        A consumer keeps the prefetch that it began with. The acknowledgement waits for the
        cancel-ok, so that nothing is delivered to a consumer that is being cancelled.
        """
        if self._prefetch == _NARROW or self._consumer_tag is None or not self._is_open:
            return
        assert self.channel is not None
        self._is_narrow, self._is_widening = False, True
        cancel_keeping_deliveries(self.channel, self._consumer_tag, callback=self._on_narrow_end)
        self._consumer_tag = None

    def _on_narrow_end(self, frame: Any) -> None:
        self._is_widening = False
        channel = self._open_channel
        if channel is None:
            return
        self.flush()
        self._stopped()
        if self._wants_deliveries:
            channel.basic_qos(prefetch_count=self._prefetch, callback=_ignore)
            self._consume()

    # Losing

    def _on_cancelled_by_broker(self, frame: Any) -> None:
        log.info("%s: the broker cancelled the consumer.", self.subscription.name)
        self._consumer_tag = None
        self._is_cancelled = True
        # A new channel, and with it new tags: on 4.3 the broker has given back what was unsettled.
        channel = self._open_channel
        if channel is not None:
            channel.close()

    def _on_closed(self, channel: Channel, reason: Exception) -> None:
        if channel is not self.channel:
            return
        if self._is_looking and is_missing_queue(reason, self.subscription.name):
            self._is_known_gone, self._is_cancelled = True, False
            log.error(
                "%s: the queue was deleted, and the events that waited in it are lost.",
                self.subscription.name,
            )
            self._lost()
            self._reopen()
            return
        if not (self._is_declared or self._is_looking) and self._declaration.learns_from(reason):
            self._lost()
            self._reopen()
            return
        node = self._thread.node
        error = self._declaration.explain(reason, node) or translate(reason, node)
        if is_consumer_timeout(reason) and not self._is_timed_out:
            self._time_out()
        if self._is_cancelled:
            error = BrokerUnavailable("The broker cancelled the consumer.")
        is_ours = not isinstance(error, ConfigurationError) and self._is_established
        if is_ours and is_missing_exchange(reason, self._settings.exchange):
            self._watcher.on_missing_exchange()
            self._fail(error, MISSING_EXCHANGE_SECONDS)
        else:
            self._fail(error)

    def _fail(self, error: DomainEventBrokerError, delay_seconds: float | None = None) -> None:
        """Tell who waits; try again after a while, ever longer unless it is given."""
        self._lost(error)
        if isinstance(error, ConfigurationError):
            self._declaration.begin_anew()
            if self._wants_deliveries and not self._has_consumed and self._is_established:
                self._watcher.on_refused(error)
        if self._connection is None or not self._connection.is_open or not self.is_established:
            return
        if self._is_cancelled and self._pacing.hurries():  # meanwhile, events reach nobody
            self._reopen()
            return
        if delay_seconds is None:
            delay_seconds = self._pacing.delay_seconds()
        log.log(
            self._pacing.level_of(error),
            "%s: again in %.1f s: %s",
            self.subscription.name,
            delay_seconds,
            error,
        )
        self._timer = self._thread.loop.call_later(delay_seconds, self._reopen)

    def _reopen(self) -> None:
        self._timer = None
        if self._connection is not None and self._connection.is_open:
            self.open(self._connection)

    def _lost(self, error: DomainEventBrokerError | None = None) -> None:
        """The channel is gone, with the connection or without it; for good, if with an error."""
        self._generation += 1
        self.channel = None
        self._is_declared = self._is_looking = False
        self._is_widening = False
        self._consumer_tag = None
        self._pacing.lost()
        self.safe()
        self._stopped()
        while self._counts:
            gone = error or BrokerUnavailable("The queue is being declared anew.")
            self._counts.popleft().set_exception(gone)
        if error is not None and not self.declared.done():
            self.declared.set_exception(error)

    def abandon(self) -> None:
        """Nobody wants this subscription any more, however far it got."""
        self._is_abandoned = True
        self._wants_deliveries = False
        channel = self._open_channel
        if channel is not None:
            channel.close()

    def forget(self) -> None:
        """In a forked child: the connection is the parent's, and so is what came by it."""
        self._generation += 1
        self._connection = self.channel = self._consumer_tag = self._timer = None
        self._is_declared = self._is_widening = self._wants_deliveries = False
        self._is_looking = self._is_cancelled = self._is_timed_out = False
        self._caution.end()
        self._on_stopped = None
        # Left alone: a thread of the parent may have held the locks inside of those there were.
        self._counts = deque()

    def disconnected(self, error: DomainEventBrokerError) -> None:
        if self._timer is not None:
            self._thread.loop.remove_timeout(self._timer)
            self._timer = None
        self._connection = None
        self._lost(error)

    # Asking

    def count(self) -> Future[int]:
        """How many messages are ready in the queue; asked of the broker."""
        result: Future[int] = Future()
        if self._ask_count(self._on_count):
            self._counts.append(result)
        else:
            result.set_exception(BrokerUnavailable("There is no connection at the moment."))
        return result

    def _on_count(self, message_count: int) -> None:
        # The broker answers in the order of the questions.
        self._counts.popleft().set_result(message_count)

    def _ask_count(self, callback: Callable[[int], None]) -> bool:
        """Ask how many messages are ready; False where there is nothing to ask on."""
        channel = self._open_channel
        if channel is None:
            return False
        channel.queue_declare(
            self.subscription.name,
            passive=True,
            callback=lambda frame: callback(frame.method.message_count),
        )
        return True


def channel_of(delivery: Delivery) -> SubscriptionChannel:
    """Where it came from, and is to be settled."""
    channel: SubscriptionChannel = delivery.token[0]
    return channel


def _ignore(frame: Any) -> None:
    """For requests whose answer matters only in that it comes."""
