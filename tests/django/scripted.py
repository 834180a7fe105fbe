"""A transport that answers as it is told: outcomes that no real broker gives on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from domain_event_broker.errors import UnknownQueue
from domain_event_broker.messages import Message
from domain_event_broker.settings import Settings
from domain_event_broker.transports.base import (
    Capabilities,
    Consumer,
    DeadLetters,
    Outcome,
    PublishResult,
    Transport,
)

SCHEME = "scripted"

#: Makes one, as the project's broker; arguments are settings, under their upper-case names.
MakeScripted = Callable[..., "ScriptedTransport"]

Answer = Callable[[Message], PublishResult]

CONFIRMED = PublishResult(Outcome.CONFIRMED)


class ScriptedTransport(Transport):
    """Confirms everything, until `answer` is another."""

    capabilities: ClassVar[Capabilities] = Capabilities(persistent=True, counts_crashes=False)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.answer: Answer = lambda message: CONFIRMED
        #: The ids of the messages that were published together.
        self.batches: list[list[str | None]] = []
        #: The messages that were put into the queue of one handler, with its name.
        self.requeued: list[tuple[str, Message]] = []

    @property
    def published(self) -> list[str | None]:
        """The ids of all messages, in order; those that it did not take, too."""
        return [message_id for batch in self.batches for message_id in batch]

    def answer_for(self, **results: PublishResult) -> None:
        """Answer so to these ids, and confirm all others."""
        self.answer = lambda message: results.get(str(message.message_id), CONFIRMED)

    def publish(self, messages: Sequence[Message], timeout_seconds: float) -> list[PublishResult]:
        self.batches.append([message.message_id for message in messages])
        return [self.answer(message) for message in messages]

    def requeue(
        self, handler_name: str, messages: Sequence[Message], timeout_seconds: float
    ) -> list[PublishResult]:
        self.requeued += [(handler_name, message) for message in messages]
        return [self.answer(message) for message in messages]

    def consumer(self) -> Consumer:
        raise NotImplementedError("It publishes only.")

    def dead_letters(self, handler_name: str) -> DeadLetters:
        raise UnknownQueue("It has no queues.")

    def close(self, timeout_seconds: float = 5.0) -> None:
        """There is nothing to give up."""
