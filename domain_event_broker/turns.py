"""Who handles which delivery when: of each handler so many at once, and else in order."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable

from .transports.base import Consumer, Delivery


class Turns(ABC):
    """What the threads that run handlers take their deliveries from.

    :param on_nothing: called by a thread that has received in vain, while no other receives.
    """

    def __init__(self, consumer: Consumer, on_nothing: Callable[[], None]) -> None:
        self._consumer = consumer
        self._on_nothing = on_nothing

    @abstractmethod
    def take(self, timeout_seconds: float) -> Delivery | None:
        """The next delivery that may be handled now; ``None`` after the timeout or once stopped.

        Tell `end` when it was handled.
        """

    @abstractmethod
    def end(self, delivery: Delivery) -> None:
        """It was handled, whatever came of it."""

    @abstractmethod
    def is_idle(self) -> bool:
        """Whether nothing is being handled, or at hand to be. For `on_nothing`."""

    @abstractmethod
    def stop(self) -> None:
        """Give back what nobody began, now and from now on. Idempotent."""


class SingleFile(Turns):
    """All in order, for one thread."""

    def take(self, timeout_seconds: float) -> Delivery | None:
        delivery = self._consumer.receive(timeout_seconds)
        if delivery is None:
            self._on_nothing()
        return delivery

    def end(self, delivery: Delivery) -> None:
        """The next one is taken when this thread asks."""

    def is_idle(self) -> bool:
        return True  # whenever the one thread asks

    def stop(self) -> None:
        """What nobody took, the consumer gives back itself."""


class SideBySide(Turns):
    """Up to so many at once of each handler, for any number of threads.

    One thread at a time receives, so that a handler's deliveries begin in the order in which they
    came. What a handler has no room for is put aside until it has, while others go on.
    """

    def __init__(self, consumer: Consumer, on_nothing: Callable[[], None]) -> None:
        super().__init__(consumer, on_nothing)
        self._changed = threading.Condition()
        self._is_receiving = False
        self._is_stopped = False
        #: By handler, how many were taken, or may be, and have not ended.
        self._running: Counter[str] = Counter()
        #: Handlers that have no room; the consumer reads it while it waits.
        self._full: set[str] = set()
        #: By handler, what it had no room for.
        self._aside: dict[str, deque[Delivery]] = {}
        #: What was put aside, and has room now.
        self._ready: deque[Delivery] = deque()

    def take(self, timeout_seconds: float) -> Delivery | None:
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            self._changed.wait_for(self._is_wanted, timeout_seconds)
            if self._is_stopped or (self._is_receiving and not self._ready):
                return None
            ready = self._ready.popleft() if self._ready else None
            if ready is None:
                self._is_receiving = True
        if ready is not None:
            return self._unless_stale(ready)
        try:
            return self._receive(deadline)
        finally:
            with self._changed:
                self._is_receiving = False
                self._changed.notify()

    def _is_wanted(self) -> bool:
        """Whether there is something to do for one more thread."""
        return bool(self._ready) or not self._is_receiving or self._is_stopped

    def _receive(self, deadline: float) -> Delivery | None:
        """The next whose handler has room; the others are put aside."""
        while True:
            remaining_seconds = max(deadline - time.monotonic(), 0.0)
            delivery = self._consumer.receive(remaining_seconds, self._full)
            if delivery is None:
                self._on_nothing()
                return None
            with self._changed:
                is_stopped = self._is_stopped
                if not is_stopped and self._may_begin(delivery):
                    return delivery
                ready = self._ready.popleft() if self._ready else None
            if is_stopped:
                self._consumer.release(delivery)
                return None
            if ready is not None:
                return self._unless_stale(ready)

    def _may_begin(self, delivery: Delivery) -> bool:
        name = delivery.subscription.name
        if name in self._full:
            self._aside.setdefault(name, deque()).append(delivery)
            return False
        self._running[name] += 1
        if self._running[name] >= delivery.subscription.concurrency:
            self._full.add(name)
        return True

    def _unless_stale(self, delivery: Delivery) -> Delivery | None:
        """It may have waited for longer than it is ours."""
        if self._consumer.holds(delivery):
            return delivery
        self._consumer.release(delivery)
        self.end(delivery)
        return None

    def end(self, delivery: Delivery) -> None:
        name = delivery.subscription.name
        with self._changed:
            aside = self._aside.get(name)
            if aside:
                self._ready.append(aside.popleft())  # in its place
                self._changed.notify()
                return
            self._running[name] -= 1
            makes_room = name in self._full
            self._full.discard(name)
        if makes_room:
            self._consumer.look_again()

    def is_idle(self) -> bool:
        with self._changed:
            return not self._running.total()

    def stop(self) -> None:
        with self._changed:
            self._is_stopped = True
            waiting = [*self._ready, *(each for aside in self._aside.values() for each in aside)]
            self._ready.clear()
            self._aside.clear()
            self._changed.notify_all()
        for delivery in waiting:
            self._consumer.release(delivery)
