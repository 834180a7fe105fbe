"""The memory transport: brokers inside this process, for tests and for trying things out.

``memory://name`` names one; all users of a name in a process share it. It is honest: it routes,
delays, settles, gives back, counts crashes and dead-letters as a broker does, but nothing outlives
the process.
"""

from __future__ import annotations

import heapq
import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, NamedTuple
from urllib.parse import urlsplit

from ..errors import TopologyMismatch, TransportClosed, UnknownQueue
from ..handling import now_ms
from ..messages import Message
from ..names import dead_letter_queue
from ..routing import routes
from ..settings import Settings
from .base import (
    Capabilities,
    Consumer,
    DeadLetter,
    DeadLetters,
    Delivery,
    Outcome,
    PublishResult,
    Subscription,
    Transport,
    already_subscribed,
    no_queue,
)


class _Queued(NamedTuple):
    """A message in a queue."""

    message: Message
    #: Deliveries whose consumer closed without settling them.
    crashes: int = 0


@dataclass(slots=True)
class _Queue:
    name: str
    # As it was declared first: durable, exclusive, auto-delete.
    flags: tuple[bool, bool, bool] = (True, False, False)
    ready: deque[_Queued] = field(default_factory=deque)
    binding_keys: set[tuple[str, str]] = field(default_factory=set)
    owner: MemoryConsumer | None = None
    consumers: int = 0


class MemoryBroker:
    """The state of one ``memory://name``, guarded by one condition."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.queues: dict[str, _Queue] = {}
        self._exchange_types: dict[str, str] = {}
        self._delayed: list[tuple[int, int, str, Message]] = []
        self._sequence = itertools.count()

    def declare_exchange(self, name: str, exchange_type: str) -> None:
        with self.changed:
            there = self._exchange_types.setdefault(name, exchange_type)
        if there != exchange_type:
            raise TopologyMismatch(
                f"The exchange {name!r} is of type {there!r} already, not {exchange_type!r}."
            )

    def publish(self, exchange: str, message: Message) -> bool:
        """Put `message` into every queue that is bound for it; tell whether there was any."""
        with self.changed:
            kind = self._exchange_types[exchange]
            bound = [
                queue
                for queue in self.queues.values()
                if any(
                    name == exchange and routes(kind, key, message.routing_key)
                    for name, key in queue.binding_keys
                )
            ]
            for queue in bound:
                queue.ready.append(_Queued(message))
            self.changed.notify_all()
            return bool(bound)

    def put(self, name: str, message: Message) -> bool:
        """Put it into a queue; false where there is none of that name."""
        with self.changed:
            if name not in self.queues:
                return False
            self.queues[name].ready.append(_Queued(message))
            self.changed.notify_all()
            return True

    def delay(self, name: str, message: Message, due_at_ms: int) -> None:
        with self.changed:
            heapq.heappush(self._delayed, (due_at_ms, next(self._sequence), name, message))
            self.changed.notify_all()

    def release_due(self) -> float | None:
        """Move what is due into its queue; seconds until the next is. Call it with the lock."""
        now = now_ms()
        while self._delayed and self._delayed[0][0] <= now:
            _, _, name, message = heapq.heappop(self._delayed)
            self.put(name, message)
        return (self._delayed[0][0] - now) / 1000 if self._delayed else None


_brokers: dict[str, MemoryBroker] = {}
_brokers_lock = threading.Lock()


def _renew_locks_in_child() -> None:
    global _brokers_lock
    # Another thread of the parent may have held them when it forked.
    _brokers_lock = threading.Lock()
    for broker in _brokers.values():
        broker.changed = threading.Condition()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks_in_child)


def broker_for(settings: Settings) -> MemoryBroker:
    with _brokers_lock:
        return _brokers.setdefault(urlsplit(settings.urls[0]).netloc, MemoryBroker())


class MemoryTransport(Transport):
    capabilities: ClassVar[Capabilities] = Capabilities(persistent=False, counts_crashes=True)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._broker = broker_for(settings)

    def publish(self, messages: Sequence[Message], timeout_seconds: float) -> list[PublishResult]:
        self._broker.declare_exchange(self.settings.exchange, self.settings.exchange_type)
        return [
            PublishResult(
                Outcome.CONFIRMED
                if self._broker.publish(self.settings.exchange, message)
                else Outcome.UNROUTABLE
            )
            for message in messages
        ]

    def requeue(
        self, handler_name: str, messages: Sequence[Message], timeout_seconds: float
    ) -> list[PublishResult]:
        there = (self._broker.put(handler_name, message) for message in messages)
        return [
            PublishResult(Outcome.CONFIRMED if is_there else Outcome.UNROUTABLE)
            for is_there in there
        ]

    def consumer(self) -> MemoryConsumer:
        return MemoryConsumer(self._broker, self.settings)

    def dead_letters(self, handler_name: str) -> MemoryDeadLetters:
        return MemoryDeadLetters(self._broker, handler_name)

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Nothing to give up; what is queued stays until the process ends."""


class MemoryConsumer(Consumer):
    def __init__(self, broker: MemoryBroker, settings: Settings) -> None:
        self._broker = broker
        self._settings = settings
        self._subscriptions: dict[str, Subscription] = {}
        self._unsettled: dict[int, Delivery] = {}
        self._is_started = False
        self._is_closed = False

    def subscribe(self, subscription: Subscription) -> None:
        with self._broker.changed:
            if self._is_closed:
                raise TransportClosed("This consumer is closed.")
            if subscription.name in self._subscriptions:
                raise already_subscribed(subscription.name)
            exchange = self._settings.exchange
            self._broker.declare_exchange(exchange, self._settings.exchange_type)
            queue = self._declare(subscription)
            queue.binding_keys |= {(exchange, key) for key in subscription.binding_keys}
            queue.consumers += 1
            if subscription.dead_letter:
                name = dead_letter_queue(subscription.name)
                self._broker.queues.setdefault(name, _Queue(name))
            self._subscriptions[subscription.name] = subscription
            self._broker.changed.notify_all()

    def _declare(self, subscription: Subscription) -> _Queue:
        name = subscription.name
        flags = (subscription.durable, subscription.exclusive, subscription.auto_delete)
        queue = self._broker.queues.get(name)
        if queue is None:
            owner = self if subscription.exclusive else None
            queue = self._broker.queues[name] = _Queue(name, flags, owner=owner)
        if queue.owner not in (None, self):
            raise TopologyMismatch(f"The queue {name!r} belongs to another subscriber exclusively.")
        if queue.flags != flags:
            raise TopologyMismatch(
                f"The queue {name!r} exists with other arguments: durable, exclusive and "
                f"auto_delete are {queue.flags}, not {flags}."
            )
        return queue

    def start(self) -> None:
        with self._broker.changed:
            if self._is_closed:
                raise TransportClosed("This consumer is closed.")
            self._is_started = True
            self._broker.changed.notify_all()

    def receive(self, timeout_seconds: float, without: Container[str] = ()) -> Delivery | None:
        deadline = time.monotonic() + timeout_seconds
        with self._broker.changed:
            while self._is_started:
                next_due_seconds = self._broker.release_due()
                delivery = self._next(without)
                if delivery is not None:
                    return delivery
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return None
                self._broker.changed.wait(
                    remaining if next_due_seconds is None else min(remaining, next_due_seconds)
                )
        return None

    def look_again(self) -> None:
        with self._broker.changed:
            self._broker.changed.notify_all()

    def holds(self, delivery: Delivery) -> bool:
        with self._broker.changed:
            return id(delivery) in self._unsettled

    def _next(self, without: Container[str]) -> Delivery | None:
        for name, subscription in self._subscriptions.items():
            queue = self._broker.queues.get(name)
            if queue is not None and queue.ready and name not in without:
                # Turns, so that a busy handler leaves room for the others.
                self._subscriptions[name] = self._subscriptions.pop(name)
                queued = queue.ready.popleft()
                delivery = Delivery(queued.message, subscription, queued.crashes)
                self._unsettled[id(delivery)] = delivery
                return delivery
        return None

    def ack(self, delivery: Delivery) -> None:
        self._settle(delivery, lambda: None)

    def retry(self, delivery: Delivery, message: Message, due_at_ms: int) -> None:
        name = delivery.subscription.name
        self._settle(delivery, lambda: self._broker.delay(name, message, due_at_ms))

    def dead_letter(self, delivery: Delivery, message: Message) -> None:
        name = dead_letter_queue(delivery.subscription.name)
        self._settle(delivery, partial(self._broker.put, name, message))

    def release(self, delivery: Delivery) -> None:
        self._settle(delivery, lambda: self._give_back(delivery, delivery.crashes))

    def _settle(self, delivery: Delivery, move: Callable[[], object]) -> None:
        with self._broker.changed:
            if id(delivery) in self._unsettled:
                move()  # first: what cannot be stored is not settled, and comes back
                del self._unsettled[id(delivery)]

    def _give_back(self, delivery: Delivery, crashes: int) -> None:
        queue = self._broker.queues.get(delivery.subscription.name)
        if queue is not None:
            queue.ready.appendleft(_Queued(delivery.message, crashes))
            self._broker.changed.notify_all()

    def waiting(self) -> int:
        with self._broker.changed:
            self._broker.release_due()
            queues = (self._broker.queues.get(name) for name in self._subscriptions)
            return sum(len(queue.ready) for queue in queues if queue is not None)

    def stop(self) -> None:
        with self._broker.changed:
            self._is_started = False
            self._broker.changed.notify_all()

    def flush(self, timeout_seconds: float) -> bool:
        return True

    def close(self, timeout_seconds: float = 5.0) -> None:
        self.stop()
        with self._broker.changed:
            if self._is_closed:
                return
            self._is_closed = True
            for delivery in reversed(self._unsettled.values()):
                self._give_back(delivery, delivery.crashes + 1)
            self._unsettled.clear()
            for name in self._subscriptions:
                self._leave(name)

    def _leave(self, name: str) -> None:
        queue = self._broker.queues.get(name)
        if queue is None:
            return
        queue.consumers -= 1
        _, _, auto_delete = queue.flags
        if queue.owner is self or (auto_delete and not queue.consumers):
            del self._broker.queues[name]


class MemoryDeadLetters(DeadLetters):
    def __init__(self, broker: MemoryBroker, handler_name: str) -> None:
        self._broker = broker
        self._handler_name = handler_name
        with broker.changed:
            queue = broker.queues.get(dead_letter_queue(handler_name))
            if queue is None:
                raise UnknownQueue(f"The handler {handler_name!r} has no dead-letter queue.")
        self._queue = queue
        self._taken: dict[int, DeadLetter] = {}

    def take(self, limit: int) -> list[DeadLetter]:
        with self._broker.changed:
            count = min(limit, len(self._queue.ready))
            taken = [DeadLetter(self._queue.ready.popleft().message) for _ in range(count)]
            self._taken.update((id(dead_letter), dead_letter) for dead_letter in taken)
            return taken

    def replay(self, dead_letter: DeadLetter, message: Message) -> None:
        with self._broker.changed:
            if not self._broker.put(self._handler_name, message):
                raise no_queue(self._handler_name)
            self.discard(dead_letter)

    def discard(self, dead_letter: DeadLetter) -> None:
        with self._broker.changed:
            del self._taken[id(dead_letter)]

    def count(self) -> int:
        with self._broker.changed:
            return len(self._queue.ready)

    def close(self) -> None:
        with self._broker.changed:
            undecided = reversed(self._taken.values())
            self._queue.ready.extendleft(_Queued(letter.message) for letter in undecided)
            self._taken.clear()
            self._broker.changed.notify_all()
