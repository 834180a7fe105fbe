"""How long after its commit an event is handled, by a publisher and a subscriber process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from ..bench import Bench
from ..percentiles import percentiles_ms
from ..processes import SubjectFailed
from ..projects import DATABASE_TRANSPORT, Project, our_project, peer_project
from ..queues import BoundQueue
from ..rounds import Figures, Measure, interleaved
from ..sections import Column, Section

SECONDS_AT_RATE = {50: 4, 300: 3}
PEER_RATE = 50
# The first events meet connections that are not open yet.
WARM_UP_SECONDS = 1
PATIENCE_SECONDS = 30
OURS = ("subscribe", "publish_steadily")
PEERS = ("peer_subscribe", "peer_fire_steadily")

COLUMNS = (Column("p50_ms", "p50, ms", 2), Column("p99_ms", "p99, ms", 2))
NOTE = (
    "From the return of the commit in one process to the handler's first statement in another; the "
    f"first {WARM_UP_SECONDS} s of each round is left out. The handler runs with the inbox. Wanted "
    "as p50: RabbitMQ < 5 ms, PostgreSQL < 15 ms.\n\n"
    "`deliver_events` handles fewer than 300 events/s here, so it is measured at 50 only. It sends "
    "one NOTIFY in 0.5 s at most, and polls once a second."
)


def measure(bench: Bench) -> list[Section]:
    with BoundQueue(bench.servers.rabbitmq) as queue:
        series = interleaved(subjects(bench, queue), bench.rounds)
    return [Section("Latency: commit to handler", series, COLUMNS, note=NOTE)]


def subjects(bench: Bench, queue: BoundQueue) -> dict[str, Measure]:
    new_database = bench.servers.new_database
    projects = {
        "RabbitMQ, outbox on PostgreSQL": our_project(new_database("PostgreSQL"), queue.url),
        "PostgreSQL": our_project(new_database("PostgreSQL"), DATABASE_TRANSPORT),
        "SQLite": our_project(new_database("SQLite"), DATABASE_TRANSPORT),
    }
    peer = peer_project(new_database("PostgreSQL"))
    for project in (*projects.values(), peer):
        bench.run("make_tables", project)
    measures: dict[str, Measure] = {
        f"{name}, {rate} events/s": partial(latency, bench, project, OURS, rate)
        for rate in SECONDS_AT_RATE
        for name, project in projects.items()
    }
    name = f"deliver_events, PostgreSQL, {PEER_RATE} events/s"
    return {**measures, name: partial(latency, bench, peer, PEERS, PEER_RATE)}


def latency(bench: Bench, project: Project, pair: tuple[str, str], per_second: int) -> Figures:
    subscriber, publisher = pair
    measured_seconds = SECONDS_AT_RATE[per_second] + WARM_UP_SECONDS
    count = measured_seconds * per_second
    limit_seconds = measured_seconds + PATIENCE_SECONDS
    with bench.start(
        subscriber, project, count=count, time_limit_seconds=limit_seconds
    ) as subscribing:
        subscribing.answer()
        published = bench.run(publisher, project, count=count, per_second=per_second)
        handled = subscribing.answer()
    waits = waits_of(published["committed_at"], handled["arrivals"])
    return percentiles_ms(waits[WARM_UP_SECONDS * per_second :])


def waits_of(published_at: Sequence[float], arrivals: Iterable[tuple[int, float]]) -> list[float]:
    """For each event, in the order of publishing, how many seconds it took.

    :param arrivals: the numbers of the events, and when each came to the handler.
    """
    handled_at = dict(arrivals)
    if len(handled_at) < len(published_at):
        raise SubjectFailed(f"Of {len(published_at)} events {len(handled_at)} were handled.")
    return [handled_at[number] - at for number, at in enumerate(published_at)]
