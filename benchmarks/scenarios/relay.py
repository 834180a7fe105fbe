"""The relay from a backlog, beside `publish_domain_events` of as many events to the same queue."""

from __future__ import annotations

from ..bench import Bench
from ..projects import Project, our_project
from ..queues import BoundQueue
from ..rounds import Figures, Measure, Series, interleaved, rates
from ..sections import Column, Ratio, Section
from ..watching import QueueWatch

RELAYED, PUBLISHED = "relay", "publish_domain_events"
BACKLOG = 100_000
GROWN_BACKLOG = 1_000_000
FIRST, LAST = f"relay, the first {BACKLOG:,}", f"relay, the last {BACKLOG:,}"
BEFORE, AFTER = f"{PUBLISHED}, before", f"{PUBLISHED}, after"

COLUMNS = (Column("per_second", "events/s"), Column("cpu_us", "CPU us per event"))
RATIOS = (Ratio(RELAYED, PUBLISHED, "per_second", ">= 0.6"),)
NOTE = (
    "{count:,} events from PostgreSQL to a quorum queue: `Relay.sweep()` until its rows are "
    "deleted, and one call until all are confirmed."
)
GROWTH_RATIOS = (
    Ratio(FIRST, BEFORE, "per_second", ">= 0.6"),
    Ratio(LAST, AFTER, "per_second", ">= 0.6"),
)
GROWTH_NOTE = (
    f"One sweep of {GROWN_BACKLOG:,} rows into an empty queue that nobody consumes. Before it and "
    f"after it, {BACKLOG:,} events are published at once: what slows the broker slows both."
)


def measure(bench: Bench) -> list[Section]:
    with BoundQueue(bench.servers.rabbitmq) as queue:
        sections = [backlog(bench, queue)]
        if bench.growth:
            sections.append(growth(bench, queue))
        return sections


def backlog(bench: Bench, queue: BoundQueue) -> Section:
    count = bench.events(BACKLOG)
    series = interleaved(subjects(bench, queue, count), bench.rounds)
    note = NOTE.format(count=count)
    return Section("Relay: PostgreSQL to RabbitMQ", series, COLUMNS, RATIOS, note)


def growth(bench: Bench, queue: BoundQueue) -> Section:
    project = our_project(bench.servers.new_database("PostgreSQL"), queue.url)
    bench.run("outbox_backlog", project, count=GROWN_BACKLOG)
    before = publish(bench, project, queue, BACKLOG)
    queue.purge()
    with QueueWatch(queue) as watch:
        whole = rates(bench.run("relay", project, count=GROWN_BACKLOG))
    found = {
        BEFORE: before,
        FIRST: {"per_second": watch.per_second(1, BACKLOG)},
        LAST: {"per_second": watch.per_second(GROWN_BACKLOG - BACKLOG, GROWN_BACKLOG)},
        f"{RELAYED}, all {GROWN_BACKLOG:,}": whole,
        AFTER: publish(bench, project, queue, BACKLOG),
    }
    series = Series({name: [figures] for name, figures in found.items()})
    title = f"Relay: from {GROWN_BACKLOG:,} rows"
    return Section(title, series, COLUMNS, GROWTH_RATIOS, GROWTH_NOTE)


def subjects(bench: Bench, queue: BoundQueue, count: int) -> dict[str, Measure]:
    project = our_project(bench.servers.new_database("PostgreSQL"), queue.url)

    def relay_to_empty() -> Figures:
        bench.run("outbox_backlog", project, count=count)
        queue.purge()
        return rates(bench.run("relay", project, count=count))

    def publish_to_empty() -> Figures:
        queue.purge()
        return publish(bench, project, queue, count)

    return {RELAYED: relay_to_empty, PUBLISHED: publish_to_empty}


def publish(bench: Bench, project: Project, queue: BoundQueue, count: int) -> Figures:
    return rates(bench.run("publish_at_once", project, count=count, broker_url=queue.url))
