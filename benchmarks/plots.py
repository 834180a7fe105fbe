"""Plots as SVG: lines over a number. matplotlib, which is an extra, is imported to draw only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from .rounds import Series

#: By x, the values of each round.
Points = Mapping[float, Sequence[float]]

INCHES = (8.0, 4.5)
# The same lines make the same file.
REPRODUCIBLE = {"svg.hashsalt": "benchmarks", "svg.fonttype": "none"}


@dataclass(frozen=True)
class Plot:
    """Lines by subject: the median of the rounds, and a band from the lowest to the highest.

    `name` is that of its file. A `logarithmic` one is so in both directions.
    """

    name: str
    x_label: str
    y_label: str
    lines: Mapping[str, Points]
    logarithmic: bool = False


def lines_of(series: Series, figures: Mapping[int, str]) -> dict[str, Points]:
    """A line for each subject that has several figures, each of them that of one x."""
    return {
        name: {float(x): series.values(name, figure) for x, figure in figures.items()}
        for name in series.rounds
    }


def can_draw() -> bool:
    return find_spec("matplotlib") is not None


def draw(plot: Plot, title: str, folder: Path) -> Path:
    """Write the plot's SVG into the folder, which is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{plot.name}.svg"
    matplotlib: Any = import_module("matplotlib")
    with matplotlib.rc_context(REPRODUCIBLE):
        figure = import_module("matplotlib.figure").Figure(figsize=INCHES, layout="constrained")
        axes = figure.subplots()
        for name, points in plot.lines.items():
            draw_line(axes, name, points)
        axes.set(title=title, xlabel=plot.x_label, ylabel=plot.y_label)
        if plot.logarithmic:
            axes.set(xscale="log", yscale="log")
        else:
            axes.set_ylim(bottom=0)
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
        figure.savefig(path, metadata={"Date": None})
    return path


def draw_line(axes: Any, name: str, points: Points) -> None:
    drawn = {x: values for x, values in points.items() if values}
    (line,) = axes.plot([*drawn], [median(values) for values in drawn.values()], "o-", label=name)
    lowest, highest = ([*map(of, drawn.values())] for of in (min, max))
    axes.fill_between([*drawn], lowest, highest, color=line.get_color(), alpha=0.2, linewidth=0)
