"""Publishing with the outbox beside a raw INSERT, and beside `fire` of django-domain-events."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from ..bench import Bench
from ..processes import Subject
from ..projects import our_project, peer_project
from ..queues import BoundQueue
from ..rounds import Turns, sliced
from ..sections import Column, Ratio, Section
from ..servers import DATABASES

RAW, RAW_AUTOCOMMIT = "raw INSERT", "raw INSERT, autocommit"
STORED, STORED_AUTOCOMMIT = "publish, sending off", "publish, sending off, autocommit"
SENT, SENT_AUTOCOMMIT = "publish, sent meanwhile", "publish, sent meanwhile, autocommit"
FIRED, FIRED_AUTOCOMMIT = "fire", "fire, autocommit"
STEPS = {"PostgreSQL": 500, "SQLite": 1_000}
SLICES = 4

COLUMNS = (
    Column("per_second", "events/s"),
    Column("cpu_us", "CPU us per event"),
    Column("finished_per_second", "events/s until sent and deleted"),
)
NOTE = (
    "Each event has a transaction of its own: `atomic()`, or with autocommit the statement's. CPU "
    "is that of the publishing process, its background thread included."
)


def measure(bench: Bench) -> list[Section]:
    with BoundQueue(bench.servers.rabbitmq) as queue:
        return [section(bench, database, queue) for database in DATABASES]


def section(bench: Bench, database: str, queue: BoundQueue) -> Section:
    queue.purge()
    with ExitStack() as stack:
        running = subjects(bench, database, queue, stack)
        turns = Turns(dict.fromkeys(running, bench.events(STEPS[database])), SLICES)
        series = sliced(running, turns, bench.rounds)
    return Section(f"Publish: {database}", series, COLUMNS, ratios(database), NOTE)


def subjects(
    bench: Bench, database: str, queue: BoundQueue, stack: ExitStack
) -> dict[str, Subject]:
    """Each has a database of its own, so that no rows of one are in the way of another."""

    def start(subject: str, **parameters: Any) -> Subject:
        project = our_project(bench.servers.new_database(database), queue.url)
        return stack.enter_context(bench.start(subject, project, **parameters))

    peer, alone = (peer_project(bench.servers.new_database(database)) for _ in range(2))
    return {
        RAW: start("raw_insert", atomic=True),
        RAW_AUTOCOMMIT: start("raw_insert", atomic=False),
        STORED: start("publish", atomic=True, sending=False),
        STORED_AUTOCOMMIT: start("publish", atomic=False, sending=False),
        SENT: start("publish", atomic=True, sending=True),
        SENT_AUTOCOMMIT: start("publish", atomic=False, sending=True),
        FIRED: stack.enter_context(bench.start("peer_fire", peer, atomic=True)),
        FIRED_AUTOCOMMIT: stack.enter_context(bench.start("peer_fire", alone, atomic=False)),
    }


def ratios(database: str) -> list[Ratio]:
    stored, sent = (">= 0.6", ">= 0.4") if database == "PostgreSQL" else ("", "")
    return [
        Ratio(STORED, RAW, "per_second", stored),
        Ratio(SENT, RAW, "per_second", sent),
        Ratio(STORED_AUTOCOMMIT, RAW_AUTOCOMMIT, "per_second", ""),
        Ratio(SENT_AUTOCOMMIT, RAW_AUTOCOMMIT, "per_second", ""),
        Ratio(STORED, FIRED, "per_second", ">= 2.5"),
        Ratio(SENT, FIRED, "per_second", ">= 1.5"),
        Ratio(STORED_AUTOCOMMIT, FIRED_AUTOCOMMIT, "per_second", ">= 2.5"),
        Ratio(SENT_AUTOCOMMIT, FIRED_AUTOCOMMIT, "per_second", ">= 1.5"),
    ]
