"""How long it took until things went on after a fault, for the table at the end of a run.

Nothing fails because of it: a busy machine is slow. Whoever reads the table compares it with the
bound that the row of the fault matrix sets.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import NamedTuple


class Fault(NamedTuple):
    """A kind of fault, and how soon things should go on after it."""

    row: int
    what: str
    bound_seconds: float


_seconds: dict[Fault, list[float]] = defaultdict(list)


def note(fault: Fault, seconds: float) -> None:
    """Note that it took so long, from when the fault was over, or else began."""
    _seconds[fault].append(seconds)


@contextmanager
def noted(fault: Fault) -> Iterator[None]:
    """Note how long the block takes."""
    began_at = time.monotonic()
    yield
    note(fault, time.monotonic() - began_at)


def table() -> list[str]:
    """A line for each kind of fault, by row."""
    return [_line(fault, seconds) for fault, seconds in sorted(_seconds.items())]


def _line(fault: Fault, seconds: list[float]) -> str:
    verdict = "" if max(seconds) <= fault.bound_seconds else "  OVER"
    return (
        f"row {fault.row:2}  {fault.what}: median {median(seconds):.2f} s, "
        f"longest {max(seconds):.2f} s of {len(seconds)}, bound {fault.bound_seconds:g} s{verdict}"
    )
