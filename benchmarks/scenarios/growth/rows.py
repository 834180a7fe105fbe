"""From a hundred waiting rows to a million: claims, and the relay."""

from __future__ import annotations

from ...bench import Bench
from ...projects import DATABASE_TRANSPORT, Project, our_project
from ...queues import BoundQueue
from ...rounds import Figures
from ...sections import Section
from .tables import ELAPSED, Costs, columns, cost_of, measured, plot

ROWS, MORE_ROWS = (100, 20_000), (100, 20_000, 1_000_000)
# The relay takes a thousand at a time, and one time more than these.
BATCHES = 10

NOTE = (
    "On PostgreSQL. A claim is of 100 rows, the median of 50, and its time without the work that "
    f"follows; the relay sends {BATCHES} batches of a thousand to a quorum queue, which needs that "
    "many rows. Wanted is a growth of at most 1.15."
)


def measure(bench: Bench) -> Section:
    sizes = MORE_ROWS if bench.growth else ROWS
    new_database = bench.servers.new_database
    with BoundQueue(bench.servers.rabbitmq) as queue:
        project = our_project(new_database("PostgreSQL"), queue.url)
        in_database = our_project(new_database("PostgreSQL"), DATABASE_TRANSPORT)

        def costs(waiting: int) -> Costs:
            claims = {
                "claim, outbox": claim(bench, project, waiting, "outbox"),
                "claim, queue of the database transport": claim(
                    bench, in_database, waiting, "queue"
                ),
            }
            if waiting == sizes[0]:
                return claims
            return {**claims, "relay": relay(bench, project, queue, waiting)}

        series = measured(sizes, bench.rounds, costs)
    headings = columns(sizes, "rows", "growth")
    lines = plot("growth-rows", "waiting rows", series, sizes, ELAPSED)
    return Section("Growth: with the number of waiting rows", series, headings, (), NOTE, lines)


def claim(bench: Bench, project: Project, waiting: int, kind: str) -> Figures:
    answer = bench.run("claim", project, waiting=waiting, kind=kind)
    return {"us": answer["seconds"] / answer["rows"] * 1e6}


def relay(bench: Bench, project: Project, queue: BoundQueue, waiting: int) -> Figures:
    queue.purge()
    bench.run("outbox_backlog", project, count=waiting)
    return cost_of(bench.run("relay_some", project, batches=BATCHES))
