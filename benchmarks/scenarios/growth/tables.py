"""Tables of what one event costs, by something that grows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ...plots import Plot, lines_of
from ...processes import Answer
from ...rounds import Figures, Series, say, shown
from ...sections import Column

#: By row of the table, the figures of one size.
Costs = Mapping[str, Figures]

ELAPSED, CPU = "us", "cpu_us"
KINDS = {ELAPSED: "us", CPU: "CPU us"}


def measured(
    sizes: Sequence[int], rounds: int, measure: Callable[[int], Costs], *, per_size: bool = False
) -> Series:
    """Measure each size once a round.

    The growth is that of an event's cost from the first size to the last, or with `per_size`, of
    its cost divided by the size, from the last but one: from where the size is what counts.
    """
    found: dict[str, list[Figures]] = {}
    for number in range(rounds):
        costs = {size: measure(size) for size in sizes}
        for name in costs[sizes[-1]]:
            of_one = {size: rows[name] for size, rows in costs.items() if name in rows}
            figures = {**by_size(of_one), **growth(of_one, per_size=per_size)}
            found.setdefault(name, []).append(figures)
            say(f"  round {number + 1}: {name}: {shown(figures)}")
    return Series(found)


def cost_of(answer: Answer) -> Figures:
    """What an event took."""
    events = answer["events"]
    return {ELAPSED: answer["seconds"] / events * 1e6, CPU: answer["cpu_seconds"] / events * 1e6}


def cost_beyond(few: Answer, many: Answer) -> Figures:
    """What each of those events took by which there were more: without what the start takes."""
    return cost_of({name: many[name] - few[name] for name in ("events", "seconds", "cpu_seconds")})


def by_size(costs: Mapping[int, Figures]) -> Figures:
    return {
        f"{kind}_{size}": value
        for size, figures in costs.items()
        for kind, value in figures.items()
    }


def growth(costs: Mapping[int, Figures], *, per_size: bool) -> Figures:
    sizes = sorted(costs)
    if len(sizes) == 1:
        return {}
    first, last = sizes[-2 if per_size else 0], sizes[-1]
    factor = first / last if per_size else 1.0
    return {
        f"{kind}_growth": costs[last][kind] / costs[first][kind] * factor for kind in costs[last]
    }


def plot(name: str, what: str, series: Series, sizes: Sequence[int], kind: str = CPU) -> Plot:
    lines = lines_of(series, {size: f"{kind}_{size}" for size in sizes})
    return Plot(name, what, f"{KINDS[kind]} per event", lines, logarithmic=True)


def columns(sizes: Sequence[int], what: str, growth: str) -> list[Column]:
    """For each kind of cost a column for each size, and the growth."""
    found: list[Column] = []
    for kind, heading in KINDS.items():
        found += [Column(f"{kind}_{size}", f"{heading}, {size:,} {what}") for size in sizes]
        found.append(Column(f"{kind}_growth", f"{heading}, {growth}", 2))
    return found
