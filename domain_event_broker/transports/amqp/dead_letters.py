"""Looking into a dead-letter queue: take, decide, and put the rest back with one nack."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
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
from ...settings import Settings
from ..base import DeadLetter, DeadLetters, Outcome
from .connection import ConnectionThread
from .errors import NOT_FOUND, translate
from .pika_connection import Connection
from .publisher import Publisher
from .targets import replay_targets
from .wire import to_message

_ANSWER_SECONDS = 60.0
# A quorum queue counts what is given back a moment later.
_GIVE_BACK_SECONDS = 1.0
_GIVE_BACK_POLL_SECONDS = 0.01


class AmqpDeadLetters(DeadLetters):
    """One look, on a connection of its own, which ends with it. For one thread."""

    def __init__(self, settings: Settings, publisher: Publisher, handler_name: str) -> None:
        self._settings = settings
        self._publisher = publisher
        self._handler_name = handler_name
        self._queue = names.dead_letter_queue(handler_name)
        self._channel: Channel | None = None
        self._undecided = 0
        self._questions: deque[Future[Any]] = deque()
        self._thread = ConnectionThread(settings, f"dead letters of {handler_name}", self)
        try:
            self._ask(self._thread.open)
            self.count()
        except BaseException:
            self.close()
            raise

    def take(self, limit: int) -> list[DeadLetter]:
        taken: list[DeadLetter] = []
        while len(taken) < limit:
            dead_letter = self._ask(self._get)
            if dead_letter is None:
                break
            taken.append(dead_letter)
            self._undecided += 1
        return taken

    def replay(self, dead_letter: DeadLetter, message: Message) -> None:
        self._check_connected()
        for target in replay_targets(self._settings, self._handler_name, message):
            batch = self._publisher.publish([target])
            (result,) = batch.wait(self._settings.publish_timeout_seconds)
            if result.outcome is Outcome.CONFIRMED:
                self.discard(dead_letter)
                return
        if result.outcome is Outcome.UNROUTABLE:
            raise UnknownQueue(
                f"The handler {self._handler_name!r} has no queue to replay to; "
                "start its subscriber once. The dead letter stays."
            )
        raise result.error or PublishUnconfirmed(
            "The broker did not confirm the replay in time; the dead letter stays."
        )

    def discard(self, dead_letter: DeadLetter) -> None:
        self._check_connected()
        self._thread.post(partial(self._ack, dead_letter.token))
        self._undecided -= 1

    def count(self) -> int:
        count: int = self._ask(partial(self._declare_passively, self._queue))
        return count

    def close(self) -> None:
        try:
            self._thread.post(self._give_back)
        except TransportClosed:
            return
        try:
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
        channel.add_callback(self._on_empty, [pika.spec.Basic.GetEmpty], one_shot=False)
        self._end(None)

    def _declare_passively(self, queue: str) -> None:
        if self._channel is None:
            self._fail(BrokerUnavailable("The connection was lost; the rest stays."))
            return
        self._channel.queue_declare(
            queue, passive=True, callback=lambda frame: self._end(frame.method.message_count)
        )

    def _get(self) -> None:
        if self._channel is None:
            self._fail(BrokerUnavailable("The connection was lost; the rest stays."))
            return
        self._channel.basic_get(self._queue, callback=self._on_message)

    def _on_empty(self, frame: Any) -> None:
        self._end(None)

    def _on_message(
        self, channel: Channel, method: Any, properties: pika.BasicProperties, body: bytes
    ) -> None:
        message = to_message(method.routing_key, properties, body)
        self._end(DeadLetter(message, token=method.delivery_tag))

    def _ack(self, tag: int) -> None:
        if self._channel is not None and self._channel.is_open:
            self._channel.basic_ack(tag)

    def _give_back(self) -> None:
        if self._channel is not None and self._channel.is_open:
            self._channel.basic_nack(0, multiple=True, requeue=True)

    def _on_channel_closed(self, channel: Channel, reason: Exception) -> None:
        self._channel = None
        if getattr(reason, "reply_code", None) == NOT_FOUND:
            self._fail(
                UnknownQueue(
                    f"The handler {self._handler_name!r} has no dead-letter queue on "
                    f"{self._settings.safe_url}; its subscriber declares it when it starts."
                )
            )
        else:
            self._fail(translate(reason, self._settings))

    def on_lost(self, error: DomainEventBrokerError) -> None:
        self._channel = None
        self._fail(error)

    def on_posted(self) -> None:
        pass

    def wants_connection(self) -> bool:
        return False

    def forget(self) -> None:
        self._channel = None
        self._questions = deque()

    def _end(self, answer: Any) -> None:
        if self._questions:
            self._questions.popleft().set_result(answer)

    def _fail(self, error: Exception) -> None:
        while self._questions:
            self._questions.popleft().set_exception(error)
