"""The ledger of one example: what happened, and the invariants over it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from domain_event_broker.encoding import retries
from domain_event_broker.transports.base import Delivery

from ..oracle import Effect


class Broken(AssertionError):
    """The promise is broken; the text begins with LOST, SPURIOUS, DOUBLE or COUNT."""


class Ledger:
    """What was committed, delivered and done; told by whoever does it.

    :param bound: the handlers that each routing key is bound for.
    """

    def __init__(self, bound: Mapping[str, Sequence[str]]) -> None:
        self.bound = bound
        #: The ids of events that committed, with their routing keys.
        self.committed: dict[str, str] = {}
        #: The same of events that may have been published, without a word of that.
        self.declared: dict[str, str] = {}
        self.effects: Counter[Effect] = Counter()
        #: What somebody decided not to have handled.
        self.discarded: set[Effect] = set()
        self.replays: Counter[Effect] = Counter()
        #: How often a queue got the event from outside.
        self.arrivals: Counter[Effect] = Counter()
        #: Retries, and deaths, since the event came, or came back, to the handler's queue.
        self.retries: Counter[Effect] = Counter()
        self.crashes: Counter[Effect] = Counter()
        #: What a fault made copies of, which each have counts of their own.
        self._copied: set[Effect] = set()
        #: Faults that excuse a further effect where there is no inbox.
        self.excuses: Counter[Effect] = Counter()

    @property
    def wanted(self) -> frozenset[Effect]:
        return self._effects_of(self.committed)

    def _effects_of(self, events: Mapping[str, str]) -> frozenset[Effect]:
        return frozenset(
            (handler, event) for event, key in events.items() for handler in self.bound[key]
        )

    # What happened

    def commit(self, event: str, key: str) -> None:
        self.committed[event] = key

    def arrive(self, effect: Effect) -> None:
        """A queue got it from outside: a publish, or a replay."""
        self.arrivals[effect] += 1
        if self.arrivals[effect] > 1 + self.replays[effect]:
            self.copy(effect)

    def copy(self, effect: Effect) -> None:
        """A fault made a copy of it."""
        self._copied.add(effect)
        self.excuses[effect] += 1

    def crash(self, deliveries: Iterable[Delivery]) -> None:
        """Who had these died."""
        for delivery in deliveries:
            effect = effect_of(delivery)
            self.crashes[effect] += 1
            self.excuses[effect] += 1

    def retry(self, effect: Effect) -> None:
        self.retries[effect] += 1
        self.crashes[effect] = 0

    def wait_on(self, effect: Effect) -> None:
        """It came before its time, and was stored anew."""
        self.crashes[effect] = 0

    def replay(self, effect: Effect) -> None:
        self.replays[effect] += 1
        self.retries[effect] = self.crashes[effect] = 0

    # What must hold

    def see_nothing_lost(self, held: Iterable[Effect]) -> None:
        """LOST = committed - (effects, what waits anywhere, what was decided against)."""
        lost = self.wanted - self.effects.keys() - set(held) - self.discarded
        if lost:
            raise Broken(f"LOST {sorted(lost)}")

    def see_nothing_spurious(self, seen: Iterable[Effect]) -> None:
        allowed = self.wanted | self._effects_of(self.declared)
        spurious = (set(seen) | self.effects.keys()) - allowed
        if spurious:
            raise Broken(f"SPURIOUS {sorted(spurious)}")

    def see_nothing_double(self, without_inbox: Sequence[str] = ()) -> None:
        """One effect at most; without an inbox, no more than faults and replays excuse."""
        for effect, count in self.effects.items():
            most = 1
            if effect[0] in without_inbox:
                most += self.excuses[effect] + self.replays[effect]
            if count > most:
                raise Broken(f"DOUBLE {effect}: {count}, at most {most}")

    def see_all_done(self, dead_letters: Iterable[Effect]) -> None:
        """Once all faults are over: an effect, a dead letter, or a decision against it."""
        undone = self.wanted - self.effects.keys() - set(dead_letters) - self.discarded
        if undone:
            raise Broken(f"LOST at the end {sorted(undone)}")

    def see_counts(self, delivery: Delivery) -> None:
        """What a delivery tells of those before it is right."""
        effect = effect_of(delivery)
        if effect in self._copied:
            return
        self.see_equal(effect, "retries", retries(delivery.message.headers), self.retries[effect])
        self.see_equal(effect, "crashes", delivery.crashes, self.crashes[effect])

    def see_equal(self, effect: Effect, what: str, found: object, wanted: object) -> None:
        if found != wanted:
            raise Broken(f"COUNT {effect}: {what} {found}, not {wanted}")


def effect_of(delivery: Delivery) -> Effect:
    return delivery.subscription.name, str(delivery.message.message_id)
