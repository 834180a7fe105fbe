"""What a process holds: to see that it comes back to what it was after a fault."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tests.support.waiting import wait_until


class Holdings(NamedTuple):
    """Of a process."""

    descriptors: int
    threads: int

    def exceed(self, others: Holdings) -> bool:
        return self.descriptors > others.descriptors or self.threads > others.threads


def holdings_of(pid: int) -> Holdings:
    """What the process holds now; it must run."""
    folder = Path("/proc") / str(pid)
    return Holdings(
        descriptors=sum(1 for _ in (folder / "fd").iterdir()),
        threads=sum(1 for _ in (folder / "task").iterdir()),
    )


def see_no_leak(pid: int, before: Holdings, timeout_seconds: float = 30.0) -> None:
    """See that the process comes back to what it held before, soon."""

    def told() -> str:
        return f"process {pid}: {holdings_of(pid)}, before {before}"

    wait_until(lambda: not holdings_of(pid).exceed(before), timeout_seconds, told)
