"""Consuming from RabbitMQ with the inbox on PostgreSQL, beside the same by hand with pika."""

from __future__ import annotations

from functools import partial

from ..backlogs import Consumer, consume
from ..bench import Bench
from ..projects import our_project
from ..rounds import interleaved
from ..sections import Column, Ratio, Section

OURS, BY_HAND = "run_subscriber, inbox=True", "pika and a transaction, by hand"
COUNT = 5_000

COLUMNS = (
    Column("per_second", "events/s"),
    Column("cpu_us", "CPU us per event"),
    Column("peak_mib", "peak MiB"),
)
RATIOS = (Ratio(OURS, BY_HAND, "per_second", ">= 0.6"),)
NOTE = (
    f"{COUNT:,} events from a quorum queue, prefetch 100. For each, both note its id and insert "
    "one row, by a statement each in one transaction; by hand, all happens in pika's own thread."
)


def measure(bench: Bench) -> list[Section]:
    measures = {
        name: partial(consume, bench, consumer) for name, consumer in consumers(bench).items()
    }
    series = interleaved(measures, bench.rounds)
    return [Section("Consume with the inbox: PostgreSQL", series, COLUMNS, RATIOS, NOTE)]


def consumers(bench: Bench) -> dict[str, Consumer]:
    project = partial(our_project, bench.servers.new_database("PostgreSQL"))
    ours = {"inbox": True, "inserts": True}
    return {
        OURS: Consumer(subject="consume_in_django", count=COUNT, project=project, parameters=ours),
        BY_HAND: Consumer(subject="pika_consume_once", count=COUNT, project=project),
    }
