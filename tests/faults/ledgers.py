"""Ledgers: what happened, one fact a line, on the disk before the next thing happens."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

Fact = dict[str, Any]


class Ledger:
    """A file that any number of processes write to, and that survives each of them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, **fact: Any) -> None:
        """Add a fact; it is on the disk at the return."""
        line = json.dumps(fact) + "\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode())  # whole, at the end of the file
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def read(self) -> list[Fact]:
        if not self._path.exists():
            return []
        return [json.loads(line) for line in self._path.read_text().splitlines()]


class Ledgers:
    """The ledgers in one folder."""

    def __init__(self, folder: Path) -> None:
        #: Of the publisher, before each transaction: the ids of its events.
        self.attempts = Ledger(folder / "attempts")
        #: Of the publisher, once a transaction committed: the ids of the events that it kept.
        self.commits = Ledger(folder / "commits")
        #: Of the subscriber, before anything is done with it: handler and event.
        self.deliveries = Ledger(folder / "deliveries")
        #: Of the handlers, as the first thing they do: handler and event.
        self.starts = Ledger(folder / "starts")
