"""Ledgers: what happened, one fact a line, on the disk before the next thing happens."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

Fact = dict[str, Any]


class Ledger:
    """A file that any number of processes write to, and that survives each of them."""

    def __init__(self, path: Path, *, is_synced: bool = True) -> None:
        self._path = path
        self._is_synced = is_synced

    def write(self, **fact: Any) -> None:
        """Add a fact; it is on the disk at the return, unless the ledger is not synced."""
        line = json.dumps(fact) + "\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode())  # whole, at the end of the file
            if self._is_synced:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def read(self) -> list[Fact]:
        if not self._path.exists():
            return []
        return [json.loads(line) for line in self._path.read_text().splitlines()]


class Ledgers:
    """The ledgers in one folder.

    Those that are not synced cost next to nothing, and survive processes, but not the machine.
    """

    def __init__(self, folder: Path, *, is_synced: bool = True) -> None:
        self._folder = folder
        self._is_synced = is_synced
        self.folder = folder
        #: Of the publisher, before each transaction: the ids of its events.
        self.attempts = self._ledger("attempts")
        #: Of the publisher, once a transaction committed: the ids of the events that it kept.
        self.commits = self._ledger("commits")
        #: Of the subscriber, before anything is done with it: handler, event, and its retries.
        self.deliveries = self._ledger("deliveries")
        #: Of the handlers, as the first thing they do: handler, event, and its retries.
        self.starts = self._ledger("starts")

    def _ledger(self, name: str) -> Ledger:
        return Ledger(self._folder / name, is_synced=self._is_synced)

    def __repr__(self) -> str:
        """As the settings of the test project say it."""
        return f"Ledgers(Path({str(self._folder)!r}), is_synced={self._is_synced})"
