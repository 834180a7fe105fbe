"""A broker in memory that faults are put into, and that tells what it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from domain_event_broker.errors import BrokerUnavailable, PublishRefused
from domain_event_broker.messages import Message
from domain_event_broker.names import dead_letter_queue
from domain_event_broker.settings import Settings
from domain_event_broker.transports.base import Capabilities, DeadLetter, Outcome, PublishResult
from domain_event_broker.transports.memory import (
    MemoryBroker,
    MemoryConsumer,
    MemoryDeadLetters,
    MemoryTransport,
)

from ..oracle import Effect
from .faults import Death, Fate, Faults, Stage
from .ledger import Ledger

SCHEME = "faulty"

_ANSWERS = {
    Fate.UNCONFIRMED: PublishResult(Outcome.UNKNOWN),
    Fate.BROKEN: PublishResult(Outcome.UNKNOWN, BrokerUnavailable("The connection broke.")),
    Fate.CUT: PublishResult(Outcome.UNKNOWN, BrokerUnavailable("Nobody is there.")),
    Fate.REFUSED: PublishResult(Outcome.REFUSED, PublishRefused("The queue is full.")),
}
_NOT_STORED = (Fate.CUT, Fate.REFUSED)


class FaultyBroker(MemoryBroker):
    """Dies, or rather has its client die, before or after it stores what moves."""

    def __init__(self, stage: Stage, ledger: Ledger) -> None:
        super().__init__()
        self._stage = stage
        self.ledger = ledger
        self._consumers: list[MemoryConsumer] = []
        self._looks: list[FaultyDeadLetters] = []

    def consumer(self, settings: Settings) -> MemoryConsumer:
        self._consumers = [each for each in self._consumers if not each._is_closed]
        made = MemoryConsumer(self, settings)
        self._consumers.append(made)
        return made

    def look(self, handler_name: str) -> FaultyDeadLetters:
        self._looks = [each for each in self._looks if each._taken]
        made = FaultyDeadLetters(self, handler_name, self._stage)
        self._looks.append(made)
        return made

    def put(self, name: str, message: Message) -> bool:
        faults = self._stage.faults
        faults.at(Death.BEFORE_STORING)
        there = super().put(name, message)
        self._die_with_a_copy(name, message)
        return there

    def delay(self, name: str, message: Message, due_at_ms: int) -> None:
        faults = self._stage.faults
        faults.at(Death.BEFORE_STORING)
        super().delay(name, message, due_at_ms)
        self._die_with_a_copy(name, message)

    def _die_with_a_copy(self, name: str, message: Message) -> None:
        faults = self._stage.faults
        if faults.death is Death.AFTER_STORING:
            self.ledger.copy((name.removesuffix(dead_letter_queue("")), _id(message)))
            faults.kill()

    def release_due(self) -> float | None:
        # The broker's own doing, which no client dies of.
        with self._stage.acting(Faults()):
            return super().release_due()
        return None

    def restart(self) -> None:
        """Every connection breaks, and what is not durable is gone."""
        for consumer in self._consumers:
            consumer.close(0)
        for look in self._looks:
            look.close()
        for queue in [each for each in self.queues.values() if not each.flags[0]]:
            del self.queues[queue.name]

    def held(self, handlers: Sequence[str]) -> Iterator[Effect]:
        """What waits for the handlers, is delivered, delayed, or dead-lettered; with copies."""
        for handler in handlers:
            for name in (handler, dead_letter_queue(handler)):
                if name in self.queues:
                    yield from ((handler, _id(each.message)) for each in self.queues[name].ready)
        for _, _, name, message in self._delayed:
            yield name, _id(message)
        for consumer in self._consumers:
            for delivery in consumer._unsettled.values():
                yield delivery.subscription.name, _id(delivery.message)
        for look in self._looks:
            for letter in look._taken.values():
                yield look.handler_name, _id(letter.message)


class FaultyDeadLetters(MemoryDeadLetters):
    """Dies before a dead letter is removed, or after."""

    def __init__(self, broker: FaultyBroker, handler_name: str, stage: Stage) -> None:
        super().__init__(broker, handler_name)
        self._broker: FaultyBroker = broker
        self.handler_name = handler_name
        self._stage = stage

    def discard(self, dead_letter: DeadLetter) -> None:
        faults = self._stage.faults
        if faults.death is Death.BEFORE_SETTLING:
            # What it was replayed as, or the row that it was written to, is there by now.
            self._broker.ledger.copy((self.handler_name, _id(dead_letter.message)))
            faults.kill()
        super().discard(dead_letter)


class FaultyTransport(MemoryTransport):
    """Gives each message its fate."""

    # As a broker that outlives its clients: that is what an outbox is for.
    capabilities: ClassVar[Capabilities] = Capabilities(persistent=True, counts_crashes=True)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.begin(Stage(), Ledger({}))

    def begin(self, stage: Stage, ledger: Ledger) -> FaultyBroker:
        """From here on, one that is empty."""
        self._stage = stage
        self._ledger = ledger
        self._broker: FaultyBroker = FaultyBroker(stage, ledger)
        return self._broker

    def publish(self, messages: Sequence[Message], timeout_seconds: float) -> list[PublishResult]:
        def store(message: Message) -> PublishResult:
            for handler in self._ledger.bound[message.routing_key]:
                self._ledger.arrive((handler, _id(message)))
            return MemoryTransport.publish(self, [message], timeout_seconds)[0]

        return [self._answer(message, store) for message in messages]

    def requeue(
        self, handler_name: str, messages: Sequence[Message], timeout_seconds: float
    ) -> list[PublishResult]:
        def store(message: Message) -> PublishResult:
            self._ledger.arrive((handler_name, _id(message)))
            return MemoryTransport.requeue(self, handler_name, [message], timeout_seconds)[0]

        return [self._answer(message, store) for message in messages]

    def consumer(self) -> MemoryConsumer:
        return self._broker.consumer(self.settings)

    def dead_letters(self, handler_name: str) -> MemoryDeadLetters:
        return self._broker.look(handler_name)

    def _answer(self, message: Message, store: Callable[[Message], PublishResult]) -> PublishResult:
        faults = self._stage.faults
        fate = faults.next_fate()
        if fate is Fate.DIES_BEFORE:
            faults.kill()
        if fate is Fate.OVERTAKEN:
            faults.meanwhile()
        if fate in _NOT_STORED:
            return _ANSWERS[fate]
        result = store(message)
        if fate is Fate.DIES_AFTER:
            faults.kill()
        return _ANSWERS.get(fate, result)


def _id(message: Message) -> str:
    return str(message.message_id)
