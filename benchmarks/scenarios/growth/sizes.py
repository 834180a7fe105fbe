"""From a kilobyte an event to a megabyte: no more than so many times the cost."""

from __future__ import annotations

from ...bench import Bench
from ...queues import UndeclaredQueue
from ...sections import Section
from .passing import pass_through
from .tables import Costs, columns, cost_of, measured, plot

KILOBYTE = 1_000
#: Of an event's text in kilobytes, and how many events that size are taken.
COUNTS = {1: 5_000, 100: 500}
MORE_COUNTS = {1: 5_000, 10: 5_000, 100: 500, 1_000: 100}
PER_KILOBYTE = "growth per KB from the last but one"

NOTE = (
    "The size is that of a text in the event's data. Wanted is that ten times the bytes cost at "
    "most ten times as much: a growth per KB of at most 1.15."
)


def measure(bench: Bench) -> Section:
    counts = MORE_COUNTS if bench.growth else COUNTS
    database = bench.servers.new_database("PostgreSQL")

    def costs(kilobytes: int) -> Costs:
        count = bench.events(counts[kilobytes])
        with UndeclaredQueue(bench.servers.rabbitmq) as queue:
            text_bytes = kilobytes * KILOBYTE
            passed = pass_through(bench, queue, database, count, text_bytes=text_bytes)
        return {name: cost_of(answer) for name, answer in passed.items()}

    series = measured([*counts], bench.rounds, costs, per_size=True)
    headings = columns([*counts], "KB", PER_KILOBYTE)
    lines = plot("growth-sizes", "kilobytes", series, [*counts])
    return Section("Growth: with the size of the event", series, headings, (), NOTE, lines)
