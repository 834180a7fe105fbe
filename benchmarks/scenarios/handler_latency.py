"""How long it takes from publishing to the handler, past every database, beside a pair of pikas."""

from __future__ import annotations

from functools import partial

from ..bench import Bench
from ..percentiles import percentiles_ms
from ..projects import NO_DJANGO
from ..queues import BoundQueue
from ..rounds import Figures, interleaved
from ..sections import Column, Ratio, Section
from .latency import PATIENCE_SECONDS, WARM_UP_SECONDS, waits_of

OURS, PIKA = "publish_domain_event, Subscriber", "pika, pika"
PAIRS = {
    OURS: ("core_subscribe", "core_publish_steadily"),
    PIKA: ("pika_subscribe", "pika_publish_steadily"),
}
PER_SECOND = 300
SECONDS = 6

COLUMNS = (Column("p50_ms", "p50, ms", 2), Column("p99_ms", "p99, ms", 2))
RATIOS = (Ratio(OURS, PIKA, "p50_ms", ""),)
NOTE = (
    f"{PER_SECOND} events/s through a quorum queue, each confirmed to its publisher: from the call "
    "in one process, connected already, to the handler's first statement in another; the first "
    f"{WARM_UP_SECONDS} s of each round is left out. The ratio is that of p50. Wanted: p50 <= 1.5 "
    "ms, p99 <= 5 ms."
)


def measure(bench: Bench) -> list[Section]:
    with BoundQueue(bench.servers.rabbitmq) as queue:
        measures = {name: partial(latency, bench, queue, *pair) for name, pair in PAIRS.items()}
        series = interleaved(measures, bench.rounds)
    return [Section("Latency: publish to handler", series, COLUMNS, RATIOS, NOTE)]


def latency(bench: Bench, queue: BoundQueue, subscriber: str, publisher: str) -> Figures:
    measured_seconds = SECONDS + WARM_UP_SECONDS
    count = measured_seconds * PER_SECOND
    with bench.start(
        subscriber,
        NO_DJANGO,
        count=count,
        time_limit_seconds=measured_seconds + PATIENCE_SECONDS,
        broker_url=queue.url,
    ) as subscribing:
        subscribing.answer()
        published = bench.run(
            publisher, NO_DJANGO, count=count, per_second=PER_SECOND, broker_url=queue.url
        )
        handled = subscribing.answer()
    waits = waits_of(published["began_at"], handled["arrivals"])
    return percentiles_ms(waits[WARM_UP_SECONDS * PER_SECOND :])
