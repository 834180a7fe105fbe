"""What a handler does with a delivery, and where its process dies meanwhile."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, cast

from domain_event_broker import Backoff, Retry
from domain_event_broker.encoding import retries
from domain_event_broker.handling import Ending, NotNow, Reason, Report
from domain_event_broker.messages import ATTEMPTS, REASON, Message
from domain_event_broker.transports.base import Consumer, Delivery

from .faults import Death, Stage
from .ledger import Ledger, effect_of

#: Which handlers an event goes to.
BOUND = {"order.one": ("reserve",), "order.two": ("reserve", "bill")}
KEYS_OF = {"reserve": ("order.*",), "bill": ("order.two",)}
HANDLERS = tuple(KEYS_OF)
RETRY_SECONDS = 30.0
CRASH_ATTEMPTS = 3
#: One retries what it asks for, the other also what stumbles.
MAX_RETRIES = {"reserve": 2, "bill": 1}
BACKOFF = Backoff(max_retries=MAX_RETRIES["bill"], base=5, jitter=0, on=ConnectionError)


class Behaviour(Enum):
    """What a handler does."""

    SUCCEEDS = "succeeds"
    PUBLISHES = "succeeds, and publishes another event"
    RETRIES = "asks for a retry"
    RETRIES_NOW = "asks for a retry without a delay"
    STUMBLES = "raises what is retried, where there is a backoff"
    FAILS = "raises"
    NOT_NOW = "has it given back"

    def end(self) -> None:
        """As the handler ends."""
        if self in _ASKED:
            raise Retry(RETRY_SECONDS if self is Behaviour.RETRIES else 0)
        if self is Behaviour.STUMBLES:
            raise ConnectionError("stumbled")
        if self is Behaviour.FAILS:
            raise ValueError("failed")
        if self is Behaviour.NOT_NOW:
            raise NotNow

    def is_retried_by(self, handler: str) -> bool:
        has_backoff = handler == "bill"
        return self in _ASKED or (self is Behaviour.STUMBLES and has_backoff)


_ASKED = (Behaviour.RETRIES, Behaviour.RETRIES_NOW)


class Turn(NamedTuple):
    """One run of a handler."""

    behaviour: Behaviour = Behaviour.SUCCEEDS
    death: Death | None = None


class Settling:
    """A consumer, as `Registration.process` uses one: its process may die before it settles."""

    def __init__(self, consumer: Consumer, stage: Stage, ledger: Ledger) -> None:
        self._consumer = consumer
        self._stage = stage
        self._ledger = ledger

    def as_consumer(self) -> Consumer:
        return cast(Consumer, self)

    def ack(self, delivery: Delivery) -> None:
        self._stage.faults.at(Death.BEFORE_SETTLING)
        self._consumer.ack(delivery)

    def retry(self, delivery: Delivery, message: Message, due_at_ms: int) -> None:
        self._stage.faults.at(Death.BEFORE_SETTLING)
        self._consumer.retry(delivery, message, due_at_ms)

    def dead_letter(self, delivery: Delivery, message: Message) -> None:
        self._stage.faults.at(Death.BEFORE_SETTLING)
        if not self._stage.faults.is_dead:
            see_story(message, delivery, self._ledger)
        self._consumer.dead_letter(delivery, message)

    def release(self, delivery: Delivery) -> None:
        self._stage.faults.at(Death.BEFORE_SETTLING)
        self._consumer.release(delivery)


def see_story(message: Message, delivery: Delivery, ledger: Ledger) -> None:
    """A dead letter tells how often its handler was called; a crash is only that."""
    is_crashed = delivery.crashes >= CRASH_ATTEMPTS
    last = delivery.crashes if is_crashed else 1
    attempts = retries(delivery.message.headers) + last
    ledger.see_equal(effect_of(delivery), "attempts", message.headers[ATTEMPTS], attempts)
    is_told = message.headers[REASON] == Reason.CRASHED.value
    ledger.see_equal(effect_of(delivery), "crashed", is_told, is_crashed)


def see_ending(report: Report, delivery: Delivery, turn: Turn, ledger: Ledger) -> None:
    """A delivery ended as the handler's limits say."""
    wanted = _ending(delivery, turn.behaviour)
    found = (report.ending, report.reason)
    if report.ending not in (Ending.DUPLICATE, Ending.POSTPONED):
        ledger.see_equal(effect_of(delivery), "ending", found, wanted)


def _ending(delivery: Delivery, behaviour: Behaviour) -> tuple[Ending, Reason | None]:
    handler = delivery.subscription.name
    if delivery.crashes >= CRASH_ATTEMPTS:
        return Ending.DEAD_LETTERED, Reason.CRASHED
    if behaviour in (Behaviour.SUCCEEDS, Behaviour.PUBLISHES):
        return Ending.HANDLED, None
    if behaviour is Behaviour.NOT_NOW:
        return Ending.RELEASED, None
    if not behaviour.is_retried_by(handler):
        return Ending.DEAD_LETTERED, Reason.ERROR
    if retries(delivery.message.headers) < MAX_RETRIES[handler]:
        return Ending.RETRIED, None
    return Ending.DEAD_LETTERED, Reason.RETRIES_EXHAUSTED
