"""The oracle: compares what was committed with the effects that it had."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

#: A handler, and the id of an event that it is bound for.
Effect = tuple[str, str]


@dataclass(frozen=True)
class Verdict:
    """What is wrong, once everything settled."""

    #: Committed, without effect.
    lost: frozenset[Effect]
    #: With an effect, but never committed.
    spurious: frozenset[Effect]
    #: With more than one effect.
    doubles: frozenset[Effect]

    @classmethod
    def on(cls, committed: Iterable[Effect], effects: Iterable[Effect]) -> Self:
        """Judge `effects`, each as often as it happened, by what was `committed`."""
        counts = Counter(effects)
        wanted = frozenset(committed)
        return cls(
            lost=wanted - counts.keys(),
            spurious=frozenset(counts.keys() - wanted),
            doubles=frozenset(effect for effect, count in counts.items() if count > 1),
        )

    @property
    def wrong(self) -> set[str]:
        """The names of what there is; none if all is well."""
        return {name for name, effects in self._kinds.items() if effects}

    @property
    def is_clean(self) -> bool:
        return not self.wrong

    def __str__(self) -> str:
        return "; ".join(
            f"{name} {len(effects)}{_some(effects)}" for name, effects in self._kinds.items()
        )

    @property
    def _kinds(self) -> dict[str, frozenset[Effect]]:
        return {"LOST": self.lost, "SPURIOUS": self.spurious, "DOUBLE": self.doubles}


def _some(effects: Iterable[Effect]) -> str:
    shown = ", ".join(f"{handler} {event}" for handler, event in sorted(effects)[:5])
    return f" ({shown})" if shown else ""


@dataclass(frozen=True)
class Copies:
    """The same for what lies on a broker, where copies are allowed, but counted."""

    lost: int
    spurious: int
    duplicates: int

    @classmethod
    def on(cls, committed: Iterable[str], seen: Mapping[str, int]) -> Self:
        wanted = set(committed)
        return cls(
            lost=len(wanted - seen.keys()),
            spurious=len(seen.keys() - wanted),
            duplicates=sum(seen.values()) - len(seen),
        )
