"""Which of the known names was meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher


def nearest_first(wanted: str, known: Iterable[str]) -> list[str]:
    """The known names, those most like `wanted` first."""
    return sorted(known, key=lambda name: (-SequenceMatcher(None, wanted, name).ratio(), name))
