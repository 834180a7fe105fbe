"""What a process holds over time: to see that it does not grow."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple

from .leaks import holdings_of

#: How much of a series counts as its beginning, and as its end.
PART = 0.2


class Sample(NamedTuple):
    """At one moment."""

    at: float
    memory_mib: float
    threads: int
    descriptors: int


class Series:
    """Samples of one process. Before the first it should be warm."""

    def __init__(self, name: str, pid: int) -> None:
        self.name = name
        self._pid = pid
        self._samples: list[Sample] = []

    def sample(self) -> None:
        """Take one; the process must run."""
        held = holdings_of(self._pid)
        self._samples.append(
            Sample(time.monotonic(), memory_mib(self._pid), held.threads, held.descriptors)
        )

    def growth(self) -> Sample:
        """How much the end is above the beginning, by the median of each.

        A median, for while a connection is renewed there are two for a moment.
        """
        count = max(round(len(self._samples) * PART), 1)
        first, last = self._samples[:count], self._samples[-count:]
        columns = zip(zip(*first, strict=True), zip(*last, strict=True), strict=True)
        at, memory, threads, descriptors = (median(end) - median(start) for start, end in columns)
        return Sample(at, memory, round(threads), round(descriptors))

    def told(self) -> str:
        end = self._samples[-1]
        slopes = (
            f"{60 * slope:+.2f} {what}"
            for slope, what in zip(
                (self._slope(index) for index in (1, 2, 3)),
                ("MiB", "threads", "descriptors"),
                strict=True,
            )
        )
        return (
            f"{self.name}: {end.memory_mib:.0f} MiB, {end.threads} threads, "
            f"{end.descriptors} descriptors; a minute {', '.join(slopes)}"
        )

    def _slope(self, index: int) -> float:
        """By least squares, a second."""
        mean_at = fmean(each.at for each in self._samples)
        mean = fmean(each[index] for each in self._samples)
        over = sum((each.at - mean_at) * (each[index] - mean) for each in self._samples)
        under = sum((each.at - mean_at) ** 2 for each in self._samples)
        return over / under if under else 0.0


def memory_mib(pid: int) -> float:
    """How much of the machine's memory the process has (its resident set)."""
    status = Path(f"/proc/{pid}/status").read_text()
    kibibytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    return int(kibibytes) / 1024
