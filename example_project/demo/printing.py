"""Plain text for people: headings, quotes and tables."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable, Sequence

WIDTH = 96

_numbers = itertools.count(1)


def heading(text: str) -> None:
    line = f"{next(_numbers)}. {text}"
    say(f"\n{line}\n{'-' * len(line)}")


def say(text: str = "") -> None:
    print(text, flush=True)


def quote(lines: Iterable[str]) -> None:
    """What a program wrote, indented and wrapped."""
    for line in lines:
        say(textwrap.fill(line, WIDTH, initial_indent="  | ", subsequent_indent="  |     "))


def table(rows: Sequence[Sequence[object]]) -> None:
    """Rows in columns: text to the left, numbers and their headings to the right."""
    columns = list(zip(*rows, strict=True))
    widths = [max(len(str(cell)) for cell in column) for column in columns]
    sides = [">" if isinstance(column[-1], int) else "<" for column in columns]
    for row in rows:
        cells = zip(row, sides, widths, strict=True)
        say("  " + "  ".join(f"{cell!s:{side}{width}}" for cell, side, width in cells).rstrip())
