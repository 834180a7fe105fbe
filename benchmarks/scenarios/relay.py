"""The relay from a backlog, beside `publish_domain_events` of as many events to the same queue."""

from __future__ import annotations

from tests.support.ports import LOOPBACK, free_ports
from tests.support.rabbitmq import RabbitmqNode
from tests.support.releases import find_release, requested_releases
from tests.support.waiting import wait_until

from ..bench import Bench
from ..projects import Project, our_project, outbox_pattern_project
from ..queues import BoundQueue
from ..rounds import Figures, Measure, Series, interleaved, rates
from ..sections import Column, Ratio, Section
from ..watching import QueueWatch

RELAYED, PUBLISHED = "relay", "publish_domain_events"
PEER = "django-outbox-pattern, STOMP"
BACKLOG = 100_000
GROWN_BACKLOG = 1_000_000
SLOWER = 20
FIRST, LAST = f"relay, the first {BACKLOG:,}", f"relay, the last {BACKLOG:,}"
BEFORE, AFTER = f"{PUBLISHED}, before", f"{PUBLISHED}, after"

COLUMNS = (Column("per_second", "events/s"), Column("cpu_us", "CPU us per event"))
RATIOS = (Ratio(RELAYED, PUBLISHED, "per_second", ">= 0.6"), Ratio(RELAYED, PEER, "per_second", ""))
NOTE = (
    "{count:,} events from PostgreSQL to a quorum queue: `Relay.sweep()` until its rows are "
    "deleted, and one call until all are confirmed. {slow_count:,} with django-outbox-pattern, "
    "which asks for no confirm, and keeps its rows."
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
    (stomp_port,) = free_ports(1)
    listener = {"stomp.listeners.tcp.1": f"{LOOPBACK}:{stomp_port}"}
    release = find_release(requested_releases()[0])
    with (
        RabbitmqNode(release, listener, plugins=["rabbitmq_stomp"]) as node,
        BoundQueue(node) as queue,
    ):
        sections = [backlog(bench, queue, stomp_port)]
        if bench.growth:
            sections.append(growth(bench, queue))
        return sections


def backlog(bench: Bench, queue: BoundQueue, stomp_port: int) -> Section:
    count = bench.events(BACKLOG)
    slow_count = count // SLOWER
    measures = subjects(bench, queue, count) | peers(bench, queue, slow_count, stomp_port)
    series = interleaved(measures, bench.rounds)
    note = NOTE.format(count=count, slow_count=slow_count)
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


def peers(bench: Bench, queue: BoundQueue, count: int, stomp_port: int) -> dict[str, Measure]:
    database = bench.servers.new_database("PostgreSQL")
    project = outbox_pattern_project(database, LOOPBACK, stomp_port, queue.vhost)

    def relay_to_empty() -> Figures:
        bench.run("peer_outbox_backlog", project, count=count)
        queue.purge()
        figures = rates(bench.run("peer_relay", project, count=count))
        wait_until(lambda: queue.count() == count)
        return figures

    return {PEER: relay_to_empty}


def publish(bench: Bench, project: Project, queue: BoundQueue, count: int) -> Figures:
    return rates(bench.run("publish_at_once", project, count=count, broker_url=queue.url))
