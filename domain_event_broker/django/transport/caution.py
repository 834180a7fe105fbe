"""Suspects, which may have ended a process: handled with nothing else at hand, as far as can be."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterable

from ...transports.base import Delivery


class Caution:
    """Says when a suspect may be claimed, and when nothing may be claimed beside it.

    What a process holds when it dies counts a crash, whichever event it was. So a suspect waits
    until nothing else is held, and nothing else is claimed until it is settled: each of them for
    `patience_seconds` at most, since handlers may take any time.
    """

    def __init__(self, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        #: The queue in which one waits, and since when we know.
        self._queue: int | None = None
        self._since = math.inf
        self._claimed_at = -math.inf

    def is_handling_one(self, held: Iterable[Delivery]) -> bool:
        """Whether nothing is to be claimed, for it might not be the only one that dies."""
        may_end_us = time.monotonic() < self._claimed_at + self._patience_seconds
        return may_end_us and any(delivery.crashes for delivery in held)

    def may_claim_one(self, held: Collection[int]) -> bool:
        return not held or time.monotonic() >= self._since + self._patience_seconds

    def narrow(self, queues: list[int]) -> list[int]:
        """Of these, the one in which a suspect waits: others would keep us from being quiet."""
        return [self._queue] if self._queue in queues else queues

    def wait(self, queue: int) -> None:
        """One is next in that queue, and may not be claimed yet."""
        if self._queue is None:
            self._queue, self._since = queue, time.monotonic()

    def claimed(self) -> None:
        """One was."""
        self._claimed_at = time.monotonic()
        self.none_waits()

    def none_waits(self) -> None:
        """None did, or somebody else has it."""
        self._queue, self._since = None, math.inf
