"""Looking into a dead-letter queue: take, decide, and put the rest back with one nack."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from functools import partial
from typing import Any

import pika
from pika.channel import Channel

from ... import names
from ...errors import (
    BrokerUnavailable,
    DomainEventBrokerError,
    PublishUnconfirmed,
    TransportClosed,
    UnknownQueue,
)
from ...messages import Message
from ...settings import MAX_PREFETCH, Settings
from ..base import DeadLetter, DeadLetters, Outcome, PublishResult, no_queue
from .careful_acks import GATHER_SECONDS, CarefulAcks
from .connection import ConnectionThread
from .errors import NOT_FOUND, translate
from .pika_connection import Connection, cancel_keeping_deliveries
from .wire import to_message

_ANSWER_SECONDS = 60.0
# How long to wait for the next of what was counted.
_SILENCE_SECONDS = 1.0
# A quorum queue counts what is given back a moment later.
_GIVE_BACK_SECONDS = 1.0
_GIVE_BACK_POLL_SECONDS = 0.01
_LAST_ACKS_SECONDS = 0.01


#: `Transport.requeue`.
Requeue = Callable[[str, Sequence[Message], float], list[PublishResult]]


class AmqpDeadLetters(DeadLetters):
    """One look, on a connection of its own, which ends with it. For one thread."""

    def __init__(self, settings: Settings, handler_name: str, requeue: Requeue) -> None:
        self._settings = settings
        self._handler_name = handler_name
        self._requeue = requeue
        self._queue = names.dead_letter_queue(handler_name)
        self._channel: Channel | None = None
        self._acks: CarefulAcks | None = None
        self._gathering: Any = None
        self._given_back = threading.Event()
        self._undecided = 0
        self._taken: list[DeadLetter] = []
        self._wanted = 0
        self._consumer_tag: str | None = None
        self._questions: deque[Future[Any]] = deque()
        self._thread = ConnectionThread(settings, f"dead letters of {handler_name}", self)
        try:
            self._ask(self._thread.open)
            self.count()
        except BaseException:
            self.close()
            raise

    def take(self, limit: int) -> list[DeadLetter]:
        count = min(limit, self.count(), MAX_PREFETCH)
        if not count:
            return []
        taken: list[DeadLetter] = self._ask(partial(self._consume, count))
        return taken

    def replay(self, dead_letter: DeadLetter, message: Message) -> None:
        self._check_connected()
        timeout_seconds = self._settings.publish_timeout_seconds
        (result,) = self._requeue(self._handler_name, [message], timeout_seconds)
        if result.outcome is Outcome.CONFIRMED:
            # As soon as can be: who dies before it is sent has replayed it, and it is still there.
            self._settle(dead_letter, self._ack_now)
            return
        if result.outcome is Outcome.UNROUTABLE:
            raise no_queue(self._handler_name)
        raise result.error or PublishUnconfirmed(
            "The broker did not confirm the replay in time; the dead letter stays."
        )

    def discard(self, dead_letter: DeadLetter) -> None:
        self._check_connected()
        self._settle(dead_letter, self._ack_soon)

    def count(self) -> int:
        count: int = self._ask(partial(self._declare_passively, self._queue))
        return count

    def close(self) -> None:
        try:
            self._thread.post(self._give_back)
        except TransportClosed:
            return
        try:
            self._given_back.wait(self._settings.publish_timeout_seconds)
            if self._undecided:
                self._wait_until_given_back()
        finally:
            self._thread.close(self._settings.publish_timeout_seconds)

    def _wait_until_given_back(self) -> None:
        """So that a look which follows at once sees them. Not for long: others may be faster."""
        deadline = time.monotonic() + _GIVE_BACK_SECONDS
        count = partial(self._declare_passively, self._queue)
        # Where the connection was lost, the broker gives them back by itself.
        with suppress(DomainEventBrokerError):
            while (remaining := deadline - time.monotonic()) > 0:
                if self._undecided <= self._ask(count, remaining):
                    return
                time.sleep(_GIVE_BACK_POLL_SECONDS)

    def _settle(self, dead_letter: DeadLetter, ack: Callable[[int], None]) -> None:
        self._thread.post(partial(ack, dead_letter.token))
        self._undecided -= 1

    def _check_connected(self) -> None:
        """Decide on nothing that the broker has given back: each replay would be one too many."""
        if self._channel is None:
            raise BrokerUnavailable("The connection was lost; the rest stays.")

    def _ask(
        self,
        question: Callable[[], None],
        timeout_seconds: float = _ANSWER_SECONDS,
    ) -> Any:
        """Run `question` in the connection's thread and wait for its answer."""
        answer: Future[Any] = Future()
        self._thread.post(partial(self._put, question, answer))
        try:
            return answer.result(timeout_seconds)
        except FutureTimeout:
            raise BrokerUnavailable("The broker did not answer.") from None

    # In the connection's thread

    def _put(self, question: Callable[[], None], answer: Future[Any]) -> None:
        # Answers come in the order of the questions, also to one whose asker was interrupted.
        self._questions.append(answer)
        question()

    def on_open(self, connection: Connection) -> None:
        connection.channel(on_open_callback=self._on_channel_open)

    def _on_channel_open(self, channel: Channel) -> None:
        self._channel = channel
        channel.add_on_close_callback(self._on_channel_closed)
        self._acks = CarefulAcks(channel, self._queue)
        self._end(None)

    def _declare_passively(self, queue: str) -> None:
        if self._channel is None:
            self._fail(BrokerUnavailable("The connection was lost; the rest stays."))
            return
        self._channel.queue_declare(
            queue, passive=True, callback=lambda frame: self._end(frame.method.message_count)
        )

    def _consume(self, count: int) -> None:
        """Take so many by consuming, which needs no round trip for each."""
        if self._channel is None:
            self._fail(BrokerUnavailable("The connection was lost; the rest stays."))
            return
        self._taken, self._wanted = [], count
        self._channel.basic_qos(prefetch_count=count)
        self._consumer_tag = self._channel.basic_consume(
            self._queue, on_message_callback=self._on_message
        )
        self._watch_silence(0)

    def _on_message(
        self, channel: Channel, method: Any, properties: pika.BasicProperties, body: bytes
    ) -> None:
        assert self._acks is not None
        message = to_message(method.routing_key, properties, body)
        self._acks.delivered(method.delivery_tag)
        self._taken.append(DeadLetter(message, token=method.delivery_tag))
        self._undecided += 1
        if len(self._taken) == self._wanted:
            self._cancel()

    def _watch_silence(self, seen: int) -> None:
        """Others may look, too: what was counted may never come."""
        tag = self._consumer_tag

        def look() -> None:
            if self._consumer_tag is None or self._consumer_tag != tag:
                return
            if len(self._taken) == seen:
                self._cancel()
            else:
                self._watch_silence(len(self._taken))

        self._thread.loop.call_later(_SILENCE_SECONDS, look)

    def _cancel(self, then: Callable[[], None] = lambda: None) -> None:
        tag, self._consumer_tag = self._consumer_tag, None

        def on_cancelled(frame: Any) -> None:
            self._end(self._taken)
            then()

        if tag is not None and self._channel is not None:
            cancel_keeping_deliveries(self._channel, tag, callback=on_cancelled)

    def _ack_now(self, tag: int) -> None:
        assert self._acks is not None
        self._acks.settled(tag)
        self._acks.send()

    def _ack_soon(self, tag: int) -> None:
        assert self._acks is not None
        self._acks.settled(tag)
        if self._gathering is None:
            self._gathering = self._thread.loop.call_later(GATHER_SECONDS, self._on_gathered)

    def _on_gathered(self) -> None:
        self._gathering = None
        if self._acks is not None:
            self._acks.send()

    def _give_back(self) -> None:
        """Put back what is undecided, once all else is settled."""
        if self._channel is None or self._acks is None or not self._channel.is_open:
            self._given_back.set()
        elif self._consumer_tag is not None:  # whoever was taking was interrupted
            self._cancel(then=self._give_back)
        elif self._acks.is_behind:
            self._acks.send()
            self._thread.loop.call_later(_LAST_ACKS_SECONDS, self._give_back)
        else:
            self._channel.basic_nack(0, multiple=True, requeue=True)
            self._given_back.set()

    def _on_channel_closed(self, channel: Channel, reason: Exception) -> None:
        self._channel = None
        self._given_back.set()
        if getattr(reason, "reply_code", None) == NOT_FOUND:
            self._fail(
                UnknownQueue(
                    f"The handler {self._handler_name!r} has no dead-letter queue on "
                    f"{self._thread.node.safe_url}; its subscriber declares it when it starts."
                )
            )
        else:
            self._fail(translate(reason, self._thread.node))

    def on_lost(self, error: DomainEventBrokerError) -> None:
        self._channel = None
        self._given_back.set()
        self._fail(error)

    def on_posted(self) -> None:
        """Nothing: each piece of work tells the broker itself, or has it told soon."""

    def wants_connection(self) -> bool:
        return False

    def forget(self) -> None:
        self._channel = self._acks = self._gathering = None
        self._given_back = threading.Event()
        self._questions = deque()

    def _end(self, answer: Any) -> None:
        if self._questions:
            self._questions.popleft().set_result(answer)

    def _fail(self, error: Exception) -> None:
        while self._questions:
            self._questions.popleft().set_exception(error)
