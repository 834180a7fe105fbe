"""The database transport to a handler that does nothing, beside ``deliver_events``.

With the inbox, which is one more INSERT in a transaction for each event, beside a raw INSERT.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from ..bench import Bench
from ..processes import Subject
from ..projects import DATABASE_TRANSPORT, Project, our_project, peer_project
from ..rounds import Turns, sliced
from ..sections import Column, Ratio, Section
from ..servers import DATABASES
from ..subjects.slices import WARM_UP_STEPS

RAW = "raw INSERT"
WITHOUT_INBOX, WITH_INBOX = "run_subscriber, inbox=False", "run_subscriber, inbox=True"
PEER = "deliver_events"
SLICES = 10
TURNS = {
    "PostgreSQL": Turns({RAW: 300, WITHOUT_INBOX: 1_500, WITH_INBOX: 300, PEER: 100}, SLICES),
    "SQLite": Turns({RAW: 1_000, WITHOUT_INBOX: 1_500, WITH_INBOX: 1_000, PEER: 150}, SLICES),
}
# What our backlog still has at the end. The peer's ends then, which can only help it.
BACKLOG_LEFT = 10_000

COLUMNS = (Column("per_second", "events/s"), Column("cpu_us", "CPU us per event"))
RATIOS = (
    Ratio(WITHOUT_INBOX, PEER, "per_second", ">= 10"),
    Ratio(WITH_INBOX, PEER, "per_second", ""),
    Ratio(WITH_INBOX, RAW, "per_second", ">= 0.5"),
    Ratio(WITHOUT_INBOX, RAW, "per_second", ""),
)
NOTE = (
    f"From a backlog that lasts for all rounds. {PEER} acknowledges in the handler's transaction: "
    "what it does is that of the inbox, too."
)


def measure(bench: Bench) -> list[Section]:
    return [section(bench, database) for database in DATABASES]


def section(bench: Bench, database: str) -> Section:
    with ExitStack() as stack:
        running = subjects(bench, database, stack)
        series = sliced(running, turns_of(bench, database), bench.rounds)
    return Section(f"Database transport: {database}", series, COLUMNS, RATIOS, NOTE)


def subjects(bench: Bench, database: str, stack: ExitStack) -> dict[str, Subject]:
    """Each has a database of its own; those that deliver, with a backlog of what they are to."""

    def start(subject: str, project: Project, **parameters: Any) -> Subject:
        return stack.enter_context(bench.start(subject, project, **parameters))

    def our_database() -> Project:
        return our_project(bench.servers.new_database(database), DATABASE_TRANSPORT)

    def deliver(name: str, *, inbox: bool) -> Subject:
        project = our_database()
        bench.run("backlog", project, count=BACKLOG_LEFT + wanted_of(bench, database, name))
        return start("deliver", project, inbox=inbox)

    def peer_deliver() -> Subject:
        project = peer_project(bench.servers.new_database(database))
        bench.run("peer_backlog", project, count=wanted_of(bench, database, PEER))
        return start("peer_deliver", project)

    return {
        RAW: start("raw_insert", our_database(), atomic=True),
        WITHOUT_INBOX: deliver(WITHOUT_INBOX, inbox=False),
        WITH_INBOX: deliver(WITH_INBOX, inbox=True),
        PEER: peer_deliver(),
    }


def turns_of(bench: Bench, database: str) -> Turns:
    turns = TURNS[database]
    return Turns({name: bench.events(steps) for name, steps in turns.steps.items()}, turns.slices)


def wanted_of(bench: Bench, database: str, name: str) -> int:
    """How many events a subject is asked for."""
    turns = turns_of(bench, database)
    return WARM_UP_STEPS + turns.steps[name] * turns.slices * bench.rounds
