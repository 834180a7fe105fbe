"""RabbitMQ as a transport: one publishing connection a process, one for each consumer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

from ...errors import TransportClosed
from ...messages import Message
from ...names import legacy_retry_exchange
from ...settings import Settings
from ..base import Capabilities, Outcome, PublishResult, Transport
from .batches import Batch, Outgoing
from .consumer import AmqpConsumer
from .dead_letters import AmqpDeadLetters
from .errors import is_missing_exchange
from .parameters import connection_parameters
from .publisher import Publisher
from .sending import Sending
from .targets import event_target, replay_targets


class AmqpTransport(Transport):
    capabilities: ClassVar[Capabilities] = Capabilities(persistent=True, counts_crashes=True)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        for node in settings.nodes:
            connection_parameters(node, "check")  # a URL that cannot be read fails here
        self._publisher = Publisher(settings)
        self._lock = threading.Lock()

    def publish(self, messages: Sequence[Message], timeout_seconds: float) -> list[PublishResult]:
        return self.begin_publish(messages, timeout_seconds)()

    def begin_publish(
        self, messages: Sequence[Message], timeout_seconds: float
    ) -> Callable[[], list[PublishResult]]:
        sending = Sending(self._publish, messages, partial(event_target, self.settings))
        return partial(sending.wait, timeout_seconds)

    def requeue(
        self, handler_name: str, messages: Sequence[Message], timeout_seconds: float
    ) -> list[PublishResult]:
        results: list[PublishResult] = [PublishResult(Outcome.UNROUTABLE)] * len(messages)
        for target in replay_targets(self.settings, handler_name):
            rest = [i for i, each in enumerate(results) if _is_nowhere(each, handler_name)]
            answers = Sending(self._publish, [messages[i] for i in rest], target).wait(
                timeout_seconds
            )
            for i, answer in zip(rest, answers, strict=True):
                results[i] = answer
        return results

    def _publish(self, outgoing: Sequence[Outgoing]) -> Batch:
        try:
            return self.publisher().publish(outgoing)
        except TransportClosed:  # just now
            return self.publisher().publish(outgoing)

    def publisher(self) -> Publisher:
        """The process's publisher; a new one after `close`, for whoever still publishes then."""
        if self._publisher.is_closed:
            with self._lock:
                if self._publisher.is_closed:
                    self._publisher = Publisher(self.settings)
        return self._publisher

    def consumer(self) -> AmqpConsumer:
        return AmqpConsumer(self.settings, self.publisher)

    def dead_letters(self, handler_name: str) -> AmqpDeadLetters:
        return AmqpDeadLetters(self.settings, handler_name, self.requeue)

    def close(self, timeout_seconds: float = 5.0) -> None:
        self._publisher.close(timeout_seconds)


def _is_nowhere(result: PublishResult, handler_name: str) -> bool:
    if result.outcome is Outcome.UNROUTABLE:
        return True
    # A 3.x service makes it with its first subscriber, and ours make none otherwise.
    return is_missing_exchange(result.error, legacy_retry_exchange(handler_name))
