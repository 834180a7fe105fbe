"""Whether an event costs the same when there is more: of handlers, of waiting rows, of bytes."""

from __future__ import annotations

from ...bench import Bench
from ...sections import Section
from . import handlers, rows, sizes


def measure(bench: Bench) -> list[Section]:
    return [handlers.measure(bench), rows.measure(bench), sizes.measure(bench)]
