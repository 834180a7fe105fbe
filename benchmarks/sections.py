"""What a benchmark found: medians and ratios as Markdown, every round's figures as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from .plots import Plot
from .rounds import Series


@dataclass(frozen=True)
class Column:
    """One figure of each subject."""

    figure: str
    heading: str
    decimals: int = 0


@dataclass(frozen=True)
class Ratio:
    """Two subjects, compared within each round."""

    subject: str
    beside: str
    figure: str
    wanted: str


@dataclass(frozen=True)
class Section:
    """The tables of one comparison, and its plot if it has one."""

    title: str
    series: Series
    columns: Sequence[Column]
    ratios: Sequence[Ratio] = ()
    note: str = ""
    plot: Plot | None = None

    def markdown(self) -> str:
        ratios = self._ratios() if self.ratios else ""
        parts = (f"## {self.title}", self._figures(), ratios, self.note)
        return "\n\n".join(part for part in parts if part)

    def as_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "rounds": self.series.rounds,
            "ratios": [{**vars(each), "rounds": self._values(each)} for each in self.ratios],
        }

    def _figures(self) -> str:
        headings = ["", *(column.heading for column in self.columns)]
        rows = [
            [name, *(self._cell(name, column) for column in self.columns)]
            for name in self.series.rounds
        ]
        return table(headings, rows)

    def _cell(self, name: str, column: Column) -> str:
        values = self.series.values(name, column.figure)
        return spread(values, column.decimals) if values else ""

    def _ratios(self) -> str:
        rows = [
            [f"{each.subject} / {each.beside}", spread(self._values(each), 2), each.wanted]
            for each in self.ratios
        ]
        return table(["ratio", "median (lowest to highest)", "wanted"], rows)

    def _values(self, ratio: Ratio) -> list[float]:
        return self.series.ratios(ratio.subject, ratio.beside, ratio.figure)


def spread(values: Sequence[float], decimals: int) -> str:
    """The median, with the lowest and highest round where there are several."""
    middle, low, high = (
        f"{value:,.{decimals}f}" for value in (median(values), min(values), max(values))
    )
    return f"{middle} ({low} to {high})" if len(values) > 1 else middle


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] + ["---:"] * (len(headings) - 1), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
