"""Publishing with confirms, pipelined, each matched to its message by delivery tag."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pika
import pika.spec
from pika.channel import Channel

from ...errors import (
    BrokerUnavailable,
    ConfigurationError,
    DomainEventBrokerError,
    EventError,
    PublishRefused,
    PublishUnconfirmed,
    TransportClosed,
)
from ...retrying import backoff_seconds
from ...settings import Settings
from ..base import Outcome, PublishResult
from .batches import Batch, Outgoing, Pending
from .connection import ConnectionThread
from .declaring import ExchangeDeclaration
from .errors import is_missing_exchange, translate
from .pika_connection import Connection
from .refusals import Refusals

log = logging.getLogger(__name__)

# Unconfirmed messages on the wire: enough to keep the broker busy, and a bound for what a lost
# connection leaves in doubt.
_WINDOW = 1_000
# From so many messages on that wait to be written, those are dropped that nobody waits for.
_PRUNE_FROM = 10 * _WINDOW
# Times PUBLISH_TIMEOUT: a slow broker that goes on answering is not a dead one.
_PATIENCE = 10
# Where the exchange was deleted under us, its subscribers get so long to notice, declare it and
# bind their queues, before we declare it and what we publish reaches nobody.
_MISSING_EXCHANGE_SECONDS = 3.0
# A channel may take PUBLISH_TIMEOUT to open, and twice as long after each that took too long, for
# brokers that are slow and not dead.
_MAX_DOUBLINGS = 10
# After connections that came to nothing, however many callers ask for the next one. In the long run
# less than one a second, as what is drawn may be half of it.
_REOPEN_BASE_SECONDS = 0.05
_REOPEN_MAX_SECONDS = 2.0


class Publisher:
    """One connection and one channel in confirm mode. `publish` may be called from any thread.

    It connects when there is something to publish, and discards a connection that leaves a
    message unanswered for ``PUBLISH_TIMEOUT``: heartbeats take longer to notice a dead peer. On one
    that has been silent for longer than heartbeats allow it writes nothing, but connects anew.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connection = ConnectionThread(settings, "publisher", self)
        self.forget()

    def forget(self) -> None:
        self._waiting: deque[Pending] = deque()
        self._unconfirmed: OrderedDict[int, Pending] = OrderedDict()
        self._open_connection: Connection | None = None
        self._channel: Channel | None = None
        self._is_opening_channel = False
        self._opening_since = 0.0
        self._late_openings = 0
        # Whether the connection was of use; how many in a row were not, when the next one may be,
        # and how the last one ended.
        self._has_confirmed = False
        self._vain_openings = 0
        self._open_at = 0.0
        self._last_loss = ""
        self._reopening: Any = None
        self._is_ready = False
        self._is_renewing = False
        self._refusals = Refusals()
        self._draining: Any = None
        self._is_blocked = False
        self._blockade = ""
        self._declaration = ExchangeDeclaration(self._settings)
        self._pause: Any = None
        self._next_tag = 1
        self._last_answer = 0.0
        self._prune_at = _PRUNE_FROM
        self._timer: Any = None

    # From any thread

    def publish(
        self,
        messages: Sequence[Outgoing],
        on_done: Callable[[list[PublishResult]], None] | None = None,
    ) -> Batch:
        """Send `messages` in order. `on_done` is called in the connection's thread.

        Raises `TransportClosed`.
        """
        batch = Batch(messages, on_done)
        self._connection.post(partial(self._enqueue, batch))
        return batch

    @property
    def is_closed(self) -> bool:
        return self._connection.is_closing

    def close(self, timeout_seconds: float) -> None:
        self._connection.close(timeout_seconds)

    # In the connection's thread

    def _enqueue(self, batch: Batch) -> None:
        if len(self._waiting) >= self._prune_at:
            # While the broker blocks publishers nothing is written, and callers give up.
            self._waiting = deque(each for each in self._waiting if not each.batch.is_given_up)
            self._prune_at = max(_PRUNE_FROM, 2 * len(self._waiting))
        if self._is_blocked:
            batch.obstacle = self._blockade
        elif self._reopening is not None:
            batch.obstacle = self._last_loss
        self._waiting.extend(Pending(batch, index) for index in range(len(batch.messages)))

    def on_posted(self) -> None:
        self._pump()

    def wants_connection(self) -> bool:
        return False  # the next publish asks for one

    def on_open(self, connection: Connection) -> None:
        self._open_connection = connection
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        self._ask_for_channel()

    def _ask_for_channel(self) -> None:
        if self._open_connection is None:
            self._open_in_time()
        elif self._pause is None and not self._is_opening_channel and self._open_connection.is_open:
            self._is_opening_channel = True
            self._opening_since = time.monotonic()
            self._watch()
            self._open_connection.channel(on_open_callback=self._on_channel_open)

    def _open_in_time(self) -> None:
        """Connect, but not too soon after connections that came to nothing."""
        pause_seconds = self._open_at - time.monotonic()
        if pause_seconds <= 0:
            self._connection.open()
        elif self._reopening is None:
            self._reopening = self._connection.loop.call_later(pause_seconds, self._reopen)
            for pending in self._waiting:
                pending.batch.obstacle = self._last_loss

    def _reopen(self) -> None:
        self._reopening = None
        self._pump()

    def _note_vain_opening(self, error: DomainEventBrokerError) -> None:
        pause_seconds = backoff_seconds(
            self._vain_openings, _REOPEN_BASE_SECONDS, _REOPEN_MAX_SECONDS
        )
        self._vain_openings += 1
        self._open_at = time.monotonic() + pause_seconds
        self._last_loss = str(error).rstrip(".")

    def _on_channel_open(self, channel: Channel) -> None:
        self._is_opening_channel = False
        self._channel = channel
        self._refusals.opened()
        self._next_tag = 1
        channel.add_on_close_callback(self._on_channel_closed)
        channel.add_on_return_callback(self._on_return)
        self._declaration.send(channel)
        channel.confirm_delivery(partial(self._on_confirm, channel), callback=self._on_ready)

    def _on_ready(self, frame: Any) -> None:
        self._is_ready = True
        self._late_openings = 0
        self._connection.settled()
        self._pump()

    def _pump(self) -> None:
        """Write what may be written; connect if there is something and no channel."""
        while self._waiting and self._waiting[0].batch.is_given_up:
            self._waiting.popleft()
        if not self._waiting:
            return
        if self._channel is None:
            self._ask_for_channel()
            return
        if self._is_dead:
            self._renew()
            return
        if self._may_write and self._refusals.is_worn_out and self._leave_channel():
            return
        if self._may_write:
            assert self._open_connection is not None
            with self._open_connection.writing_together():
                while self._may_write and self._waiting and len(self._unconfirmed) < _WINDOW:
                    self._write(self._waiting.popleft())
        self._watch()

    @property
    def _may_write(self) -> bool:
        is_open = self._channel is not None and self._channel.is_open
        return self._is_ready and is_open and not self._is_blocked

    @property
    def _is_dead(self) -> bool:
        """Whether an idle connection has died without a word, as far as can be told."""
        connection = self._open_connection
        is_idle = self._may_write and not self._unconfirmed
        return connection is not None and is_idle and connection.is_silent

    def _renew(self) -> None:
        """Leave a connection on which nothing is under way for a new one; what waits is kept."""
        self._is_ready, self._is_renewing = False, True
        self._connection.abort("its heartbeats are missing")

    def _leave_channel(self) -> bool:
        """Take a new channel, or wait for the last answers on this one; false if it is kept."""
        if self._unconfirmed:
            seconds = self._refusals.drain_seconds()
            if seconds and self._draining is None:
                self._draining = self._connection.loop.call_later(seconds, self._on_drained)
            return seconds > 0
        log.info("The channel refuses events; the next one may not.")
        channel, self._channel = self._channel, None
        self._is_ready = False
        self._refusals.left()
        assert channel is not None
        channel.close()
        self._ask_for_channel()
        return True

    def _on_drained(self) -> None:
        self._draining = None
        self._pump()

    def _write(self, pending: Pending) -> None:
        outgoing = pending.outgoing
        connection = self._open_connection
        assert self._channel is not None
        assert connection is not None
        if not pending.batch.may_write(pending.index):
            return
        try:
            connection.publish(
                self._channel, outgoing.exchange, outgoing.routing_key, outgoing.message
            )
        except Exception as error:  # before it is written: nothing was sent
            refused = PublishRefused(f"The message cannot be sent: {error}")
            refused.__cause__ = error
            pending.end(PublishResult(Outcome.REFUSED, refused))
            return
        pending.written_at = time.monotonic()
        self._unconfirmed[self._next_tag] = pending
        self._next_tag += 1

    def _on_return(
        self, channel: Channel, method: Any, properties: pika.BasicProperties, body: bytes
    ) -> None:
        if channel is not self._channel:
            return
        # The confirm follows; the oldest match is it, since both keep the order of publishing.
        for pending in self._unconfirmed.values():
            if not pending.is_returned and pending.outgoing.is_returned_as(method, properties):
                pending.is_returned = True
                return

    def _on_confirm(self, channel: Channel, frame: Any) -> None:
        if channel is not self._channel:
            return  # of one that was left: the next one counts its tags from one again
        self._last_answer = time.monotonic()
        self._has_confirmed, self._vain_openings = True, 0
        method = frame.method
        if isinstance(method, pika.spec.Basic.Ack):
            end = _end_confirmed
        else:
            end = _end_refused
            self._refusals.note()
        if method.multiple:
            while self._unconfirmed and next(iter(self._unconfirmed)) <= method.delivery_tag:
                end(self._unconfirmed.popitem(last=False)[1])
        else:
            pending = self._unconfirmed.pop(method.delivery_tag, None)
            if pending is not None:
                end(pending)
        self._pump()

    def _on_blocked(self, connection: Any, frame: Any) -> None:
        where = self._connection.node.safe_url
        self._blockade = f"{where} blocks publishers ({frame.method.reason})"
        log.warning("%s.", self._blockade)
        self._is_blocked = True
        for pending in self._waiting:
            pending.batch.obstacle = self._blockade

    def _on_unblocked(self, connection: Any, frame: Any) -> None:
        log.warning("%s lets publishers go on.", self._connection.node.safe_url)
        self._is_blocked = False
        for pending in self._unconfirmed.values():
            pending.written_at = time.monotonic()
        self._watch()
        self._pump()

    # What stays unanswered

    def _watch(self) -> None:
        """See to it that what is waited for is looked at when its time is over.

        That is the channel, or else the oldest unconfirmed message. A broker that blocks publishers
        answers when it unblocks them, which starts their time anew.
        """
        if self._timer is None and self._is_waiting and not self._is_blocked:
            due = self._waits_since() + self._allowed_seconds
            delay_seconds = max(due - time.monotonic(), 0.01)
            self._timer = self._connection.loop.call_later(delay_seconds, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._is_waiting and not self._is_blocked:
            silence = time.monotonic() - self._waits_since()
            if silence >= self._allowed_seconds:
                self._late_openings += self._is_opening
                what = "channel" if self._is_opening else "confirm"
                self._connection.abort(f"no {what} for {silence:.1f} s")
                return
            self._end_overdue()
        self._watch()

    @property
    def _is_opening(self) -> bool:
        """Whether the broker was asked for a channel and all that is needed on it."""
        has_asked = self._is_opening_channel or self._channel is not None
        return has_asked and not self._is_ready and not self._is_renewing

    @property
    def _is_waiting(self) -> bool:
        return self._is_opening or bool(self._unconfirmed)

    @property
    def _allowed_seconds(self) -> float:
        doublings = min(self._late_openings, _MAX_DOUBLINGS) if self._is_opening else 0
        return float(self._settings.publish_timeout_seconds * 2**doublings)

    def _waits_since(self) -> float:
        """When the oldest message was written, or the last answer came, whichever was later.

        Of a channel that is being opened, when it was asked for.
        """
        if self._is_opening:
            return self._opening_since
        oldest = next(iter(self._unconfirmed.values()))
        return max(oldest.written_at, self._last_answer)

    def _end_overdue(self) -> None:
        """Give up messages that stay unanswered while others are answered."""
        limit = time.monotonic() - _PATIENCE * self._settings.publish_timeout_seconds
        while self._unconfirmed:
            tag, oldest = next(iter(self._unconfirmed.items()))
            if oldest.written_at > limit:
                return
            del self._unconfirmed[tag]
            oldest.end(PublishResult(Outcome.UNKNOWN))

    def _on_channel_closed(self, channel: Channel, reason: Exception) -> None:
        if channel is not self._channel:
            return
        if not self._is_ready and self._declaration.learns_from(reason):
            self._channel = None
            self._ask_for_channel()
            return
        node = self._connection.node
        error = self._declaration.explain(reason, node) or translate(reason, node)
        if isinstance(error, ConfigurationError):
            self._declaration.begin_anew()
        if is_missing_exchange(reason, self._settings.exchange):
            self._wait_for_subscribers()
        self._fail_all(error)

    def _wait_for_subscribers(self) -> None:
        log.error(
            "The exchange %r was deleted. It is declared anew; events reach nobody until the "
            "subscribers have bound their queues again.",
            self._settings.exchange,
        )
        self._pause = self._connection.loop.call_later(_MISSING_EXCHANGE_SECONDS, self._resume)

    def _resume(self) -> None:
        self._pause = None
        self._pump()

    def on_lost(self, error: DomainEventBrokerError) -> None:
        self._open_connection = None
        self._is_opening_channel = False
        self._is_blocked = False
        if self._pause is not None:
            self._connection.loop.remove_timeout(self._pause)
            self._pause = None
        if self._timer is not None:
            self._connection.loop.remove_timeout(self._timer)
            self._timer = None
        for timer in (self._reopening, self._draining):
            if timer is not None:
                self._connection.loop.remove_timeout(timer)
        self._reopening = self._draining = None
        if self._is_renewing and not isinstance(error, TransportClosed):
            # Nothing was under way, and what waits has time for one more.
            self._is_renewing = False
            self._channel = None
            self._connection.open()
            return
        if not self._has_confirmed:
            self._note_vain_opening(error)
        self._has_confirmed = False
        self._fail_all(error)

    def _fail_all(self, error: DomainEventBrokerError) -> None:
        """Nothing that was written will be answered any more; what was not, is not sent."""
        unconfirmed, waiting = self._unconfirmed, self._waiting
        self._unconfirmed, self._waiting = OrderedDict(), deque()
        self._channel = None
        self._is_ready = self._is_renewing = False
        for pending in unconfirmed.values():
            pending.end(PublishResult(Outcome.UNKNOWN, _in_doubt(error)))
        if isinstance(error, EventError):
            error = BrokerUnavailable("The channel closed over another event; this was not sent.")
        for pending in waiting:
            pending.end(PublishResult(Outcome.UNKNOWN, error))


def _in_doubt(error: DomainEventBrokerError) -> DomainEventBrokerError:
    if isinstance(error, ConfigurationError):
        return error  # such as a missing permission: to send it again does not help
    in_doubt = PublishUnconfirmed(f"Lost the broker before its confirm: {error}")
    in_doubt.__cause__ = error
    return in_doubt


def _end_confirmed(pending: Pending) -> None:
    outcome = Outcome.UNROUTABLE if pending.is_returned else Outcome.CONFIRMED
    pending.end(PublishResult(outcome))


def _end_refused(pending: Pending) -> None:
    pending.end(
        PublishResult(
            Outcome.REFUSED,
            PublishRefused(
                f"The broker refused the event {pending.outgoing.message.message_id} "
                "(a full queue, or one without a leader)."
            ),
        )
    )
