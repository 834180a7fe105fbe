"""Dead letters from RabbitMQ into PostgreSQL's table, looked at there, and all replayed at once."""

from __future__ import annotations

from ..bench import Bench
from ..projects import Project, our_project
from ..queues import BoundQueue
from ..rounds import Figures, Series, rates, say, shown
from ..sections import Column, Section

FEW, MANY = 1_000, 10_000
KINDS = 3

COLUMNS = (
    Column("per_second", "events/s"),
    Column("cpu_us", "CPU us per event"),
    Column("start_mib", "MiB at the start", 1),
    Column("growth_mib", "growth at the peak", 1),
)
LOOK_COLUMNS = (
    Column("group_ms", "--group, ms"),
    Column("page_ms", "--list, ms"),
    Column("filtered_ms", "--list --error --text, ms"),
)
NOTE = (
    f"Failures of {KINDS} kinds, each with its traceback. `collect` is what `run_subscriber` does; "
    "`replay` is one `replay_dead_letters` until the handler's queue has all of them and the "
    "outbox is empty: wanted are 2,000 events/s, and memory that does not grow with their number."
)
LOOK_NOTE = "`replay_dead_letters`, each time with its look into the broker's empty queue."


def measure(bench: Bench) -> list[Section]:
    found: dict[str, list[Figures]] = {}
    looks: dict[str, list[Figures]] = {}
    with BoundQueue(bench.servers.rabbitmq) as queue:
        project = our_project(bench.servers.new_database("PostgreSQL"), queue.url)
        for number in range(bench.rounds):
            for count in (FEW, MANY):
                collected, look, replayed = measure_round(bench, project, queue, count)
                found.setdefault(f"collect, {count:,}", []).append(collected)
                found.setdefault(f"replay, {count:,}", []).append(replayed)
                looks.setdefault(f"{count:,} in the table", []).append(look)
                say(f"  round {number + 1}: collect, {count:,}: {shown(collected)}")
                say(f"  round {number + 1}: replay, {count:,}: {shown(replayed)}")
    return [
        Section("Dead letters: RabbitMQ to PostgreSQL and back", Series(found), COLUMNS, (), NOTE),
        Section("Dead letters: looks", Series(looks), LOOK_COLUMNS, (), LOOK_NOTE),
    ]


def measure_round(
    bench: Bench, project: Project, queue: BoundQueue, count: int
) -> tuple[Figures, Figures, Figures]:
    """Of collecting, looking and replaying."""
    queue.purge()
    bench.run("dead_letters", project, count=count, broker_url=queue.url)
    collected = bench.run("collect", project, count=count)
    look = bench.run("look", project, kinds=KINDS)
    replayed = bench.run("replay", project, count=count)
    assert queue.count() == count
    return with_memory(collected), look, with_memory(replayed)


def with_memory(answer: Figures) -> Figures:
    return {**rates(answer), **{name: answer[name] for name in ("start_mib", "growth_mib")}}
