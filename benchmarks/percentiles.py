"""Percentiles of waiting times."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of all do not exceed."""
    return sorted(values)[max(math.ceil(len(values) * percent / 100), 1) - 1]


def percentiles_ms(seconds: Sequence[float]) -> dict[str, float]:
    return {f"p{percent}_ms": percentile(seconds, percent) * 1000 for percent in (50, 99)}
