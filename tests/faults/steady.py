"""A load that stays the same for minutes or hours, and how long each part of it took."""

from __future__ import annotations

import json
import signal
from collections import Counter
from typing import Any

from .project import Shop

_TICKS_A_SECOND = 10_000


class Latencies:
    """Any number of them, in little memory: each rounded to a tenth of a millisecond."""

    def __init__(self) -> None:
        self._ticks: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        self._ticks[round(seconds * _TICKS_A_SECOND)] += 1

    def told(self) -> dict[str, float]:
        """Their count, and percentiles in milliseconds."""
        return {
            "count": self._ticks.total(),
            **{f"p{percent}_ms": self._percentile_ms(percent) for percent in (50, 99, 100)},
        }

    def _percentile_ms(self, percent: int) -> float:
        left = self._ticks.total() * percent / 100
        for ticks, count in sorted(self._ticks.items()):
            left -= count
            if left <= 0:
                return 1000 * ticks / _TICKS_A_SECOND
        return 0.0


class Load:
    """A process that places so many events a second until it is stopped."""

    def __init__(self, shop: Shop, rate: int, *options: str) -> None:
        self._shop = shop
        self.process = shop.begin("place_steadily", str(rate), *options)
        self.process.wait_for("Placing.")

    def stop(self) -> dict[str, Any]:
        """Have it end, which it does well if each of its transactions did; return its figures."""
        self.process.signal(signal.SIGTERM)
        assert self.process.wait() == 0, self.process.output
        figures: dict[str, Any] = json.loads(self.process.output.splitlines()[-1])
        return figures
