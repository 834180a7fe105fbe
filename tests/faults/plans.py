"""What a publisher does in one run: drawn from a seed, the same in every process."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

#: Which handlers an event goes to.
HANDLERS_OF = {
    "order.one": ("reserve",),
    "order.two": ("reserve", "bill"),
    "order.three": ("reserve", "bill", "ship"),
}
HANDLERS = HANDLERS_OF["order.three"]


@dataclass(frozen=True)
class Transaction:
    """A transaction with an event for each key, of which the last `undone` are rolled back."""

    keys: tuple[str, ...]
    commits: bool = True
    #: So many events, the last ones, are in a savepoint that is rolled back.
    undone: int = 0

    @property
    def kept(self) -> tuple[str, ...]:
        """The keys of the events that are published."""
        return self.keys[: len(self.keys) - self.undone] if self.commits else ()


Wave = tuple[Transaction, ...]


@dataclass(frozen=True)
class Plan:
    """Waves of transactions; after each the publisher waits until its events were sent."""

    waves: tuple[Wave, ...]

    @property
    def commits(self) -> int:
        return sum(each.commits for wave in self.waves for each in wave)

    @property
    def events(self) -> int:
        return len(self._kept)

    @property
    def deliveries(self) -> int:
        return sum(len(HANDLERS_OF[key]) for key in self._kept)

    @property
    def _kept(self) -> list[str]:
        return [key for wave in self.waves for each in wave for key in each.kept]


def drawn(seed: int, waves: int | None = None) -> Plan:
    """The plan of this seed; with so many waves, or a few."""
    random = Random(seed)
    count = waves or random.randint(2, 4)
    return Plan(tuple(_wave(random) for _ in range(count)))


def _wave(random: Random) -> Wave:
    """A few transactions in any order; at least one of them publishes something."""
    some = [Transaction(_keys(random))]
    some += [_transaction(random) for _ in range(random.randint(1, 4))]
    random.shuffle(some)
    return tuple(some)


def _transaction(random: Random) -> Transaction:
    keys = _keys(random)
    kind = random.choice(("commit", "commit", "rollback", "savepoint"))
    return Transaction(keys, kind != "rollback", int(kind == "savepoint"))


def _keys(random: Random) -> tuple[str, ...]:
    return tuple(random.choices(list(HANDLERS_OF), k=random.randint(1, 2)))
