"""One subscription on one channel of the consuming connection; all in the connection's thread."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import pika
from pika.channel import Channel

from ...encoding import integer_header
from ...errors import BrokerUnavailable, ConfigurationError, DomainEventBrokerError
from ...handling import event_id
from ...retrying import backoff_seconds
from ...settings import Settings
from ..base import Delivery, Subscription
from .acknowledgements import Acknowledgements
from .connection import ConnectionThread
from .errors import translate
from .pika_connection import Connection, cancel_keeping_deliveries
from .topology import declare_subscription
from .wire import to_message

log = logging.getLogger(__name__)

# Until a new event was settled: a poison that kills the process then takes no neighbour with it.
_NARROW = 1
# How long to wait for an event that should come, but that somebody else may have taken.
_SILENCE_SECONDS = 1.0
_DELIVERY_COUNT = "x-delivery-count"


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
        on_delivery: Callable[[Delivery], None],
        on_unwanted: Callable[[Delivery], None],
    ) -> None:
        self.subscription = subscription
        #: Ends when the queue was declared and bound for the first time, or could not be.
        self.declared: Future[None] = Future()
        self.channel: Channel | None = None
        self._settings = settings
        self._thread = thread
        self._on_delivery = on_delivery
        self._on_unwanted = on_unwanted
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
        self._has_received = False
        self._on_safe: Callable[[], None] | None = None
        self._on_stopped: Callable[[], None] | None = None
        self._counts: deque[Future[int]] = deque()
        self._failures = 0
        self._timer: Any = None

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
        self._has_received = False
        connection.channel(on_open_callback=self._on_open)

    def _on_open(self, channel: Channel) -> None:
        if self._is_abandoned:
            channel.close()
            return
        self.channel = channel
        channel.add_on_close_callback(self._on_closed)
        channel.add_on_cancel_callback(self._on_cancelled_by_broker)
        self.declare(delays=self.subscription.retries)
        prefetch = _NARROW if self._is_narrow else self._settings.prefetch
        channel.basic_qos(prefetch_count=prefetch, callback=self._on_declared)

    @property
    def _begins_narrow(self) -> bool:
        # A queue that goes with its consumer counts no crashes, and would go when it is widened.
        return self.subscription.is_lasting

    def declare(self, *, delays: bool) -> None:
        """Declare everything again; harmless where it is there."""
        if self._is_open:
            declare_subscription(self.channel, self._settings, self.subscription, delays=delays)

    def _on_declared(self, frame: Any) -> None:
        if self._is_abandoned:
            return
        self._is_declared = True
        self._is_established = True
        self._failures = 0
        self._thread.settled()
        if not self.declared.done():
            self.declared.set_result(None)
        if self._wants_deliveries:
            self._consume()

    # Consuming

    def start(self, on_safe: Callable[[], None] | None = None) -> None:
        """Begin to consume, now or as soon as the queue is declared.

        `on_safe` is called, unless it `is_starting` no more at the return, once what waits first
        in the queue is known not to end the process: it ran before, or nothing says it might.
        """
        self._wants_deliveries = True
        if self._may_consume:
            assert self.channel is not None
            self._on_safe = on_safe
            # Asked before consuming: what is delivered counts as waiting no more.
            self.channel.queue_declare(
                self.subscription.name, passive=True, callback=self._on_first_count
            )

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
        return self._on_safe is not None

    def _on_first_count(self, frame: Any) -> None:
        if self._may_consume:
            self._consume()
        if frame.method.message_count:
            self._thread.loop.call_later(_SILENCE_SECONDS, self._on_silence)
        else:
            self.safe()

    def _on_silence(self) -> None:
        if not self._has_received:
            self.safe()

    def safe(self) -> None:
        """The first event was handled, or is none that could have ended the process before."""
        on_safe, self._on_safe = self._on_safe, None
        if on_safe is not None:
            on_safe()

    def _consume(self) -> None:
        assert self.channel is not None
        self._consumer_tag = self.channel.basic_consume(
            self.subscription.name, on_message_callback=self._on_message
        )

    def stop(self, on_stopped: Callable[[], None]) -> None:
        """Cancel the consumer; what still comes is given back.

        `on_stopped` is called when nothing can come any more. Closing before that would leave
        deliveries on their way, which count as failed on RabbitMQ 4.3.
        """
        self._wants_deliveries = False
        self._on_safe = None
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
        self._has_received = True
        if not delivery.crashes:
            self.safe()
        if self._wants_deliveries:
            self._on_delivery(delivery)
        else:
            self._on_unwanted(delivery)

    # Settling

    def is_current(self, delivery: Delivery) -> bool:
        """Whether `delivery` can still be settled."""
        return delivery.token[1] == self._generation and self._is_open

    def settle(self, delivery: Delivery) -> None:
        """Mark as acknowledged; `flush` tells the broker."""
        self.safe()
        _, generation, tag, redelivered = delivery.token
        if generation != self._generation:
            log.info(
                "%s: event %s was settled after its connection was lost; it comes again.",
                self.subscription.name,
                event_id(delivery.message),
            )
        elif self._acks.settled(tag) and self._is_narrow and not redelivered:
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
        channel = self._open_channel
        if channel is None or self._is_widening:
            return
        for tag, multiple in self._acks.take():
            channel.basic_ack(tag, multiple=multiple)

    def _widen(self) -> None:
        """From one delivery at a time to the full prefetch, by cancel and consume.

        A consumer keeps the prefetch that it began with. The acknowledgement waits for the
        cancel-ok, so that nothing is delivered to a consumer that is being cancelled.
        """
        if self._settings.prefetch == _NARROW or self._consumer_tag is None or not self._is_open:
            return
        if self._settings.crash_attempts == 1:
            return  # what only waited beside the first crash would count as crashed
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
            channel.basic_qos(prefetch_count=self._settings.prefetch, callback=_ignore)
            self._consume()

    # Losing

    def _on_cancelled_by_broker(self, frame: Any) -> None:
        log.error(
            "%s: the broker cancelled the consumer. If the queue was deleted, the events that "
            "waited in it are lost; it is declared anew.",
            self.subscription.name,
        )
        self._consumer_tag = None
        # A new channel, and with it new tags: on 4.3 the broker has given back what was unsettled.
        channel = self._open_channel
        if channel is not None:
            channel.close()

    def _on_closed(self, channel: Channel, reason: Exception) -> None:
        if channel is not self.channel:
            return
        error = translate(reason, self._settings)
        self._lost(error)
        if self._connection is None or not self._connection.is_open or not self.is_established:
            return
        delay_seconds = backoff_seconds(
            self._failures,
            self._settings.reconnect_delay_seconds,
            self._settings.max_reconnect_delay_seconds,
        )
        self._failures += 1
        level = logging.ERROR if isinstance(error, ConfigurationError) else logging.WARNING
        log.log(level, "%s: again in %.1f s: %s", self.subscription.name, delay_seconds, error)
        self._timer = self._thread.loop.call_later(delay_seconds, self._reopen)

    def _reopen(self) -> None:
        self._timer = None
        if self._connection is not None and self._connection.is_open:
            self.open(self._connection)

    def _lost(self, error: DomainEventBrokerError) -> None:
        """The channel is gone, with the connection or without it."""
        self._generation += 1
        self.channel = None
        self._is_declared = False
        self._is_widening = False
        self._consumer_tag = None
        self.safe()
        self._stopped()
        while self._counts:
            self._counts.popleft().set_exception(error)
        if not self.declared.done():
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
        self._on_safe = self._on_stopped = None
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
        if not self._is_open:
            result.set_exception(BrokerUnavailable("There is no connection at the moment."))
            return result
        assert self.channel is not None
        self._counts.append(result)
        self.channel.queue_declare(self.subscription.name, passive=True, callback=self._on_count)
        return result

    def _on_count(self, frame: Any) -> None:
        # The broker answers in the order of the questions.
        self._counts.popleft().set_result(frame.method.message_count)


def _ignore(frame: Any) -> None:
    """For requests whose answer matters only in that it comes."""
