"""What it costs to have this package: memory, and time to import it."""

from __future__ import annotations

from ..backlogs import fill
from ..bench import Bench
from ..imports import BARE, OURS, imports_pika, start_times
from ..projects import Project, our_project
from ..queues import BoundQueue
from ..rounds import Figures, Series, say, shown
from ..sections import Column, Section

SHELL, CONNECTED_SHELL = "manage.py shell", "manage.py shell, connected to the database"
AT_FIRST = "run_subscriber, with its first event"
HANDLED = 2_000
MANY, MORE = 50_000, 1_000_000
# At a time, so that what is measured is not how a long queue is consumed.
PUBLISHED = 10_000

MEMORY_COLUMNS = (
    Column("rss_mib", "RSS, MiB", 1),
    Column("uss_mib", "USS, MiB", 1),
    Column("rss_above_mib", f"RSS above `{SHELL}`", 1),
    Column("uss_above_mib", f"USS above `{SHELL}`", 1),
)
MEMORY_NOTE = (
    "The same project on PostgreSQL and RabbitMQ. The handler does nothing and has the inbox. "
    "Wanted is at most 15 MiB above the shell; USS is what no other process has, too."
)
FLAT_NOTE = "One process, without the inbox. Wanted: the same after all as after a tenth."
IMPORT_COLUMNS = (
    Column("ms", "ms", 1),
    Column("above_ms", "above bare Python, ms", 1),
    Column("cpu_ms", "CPU, ms", 1),
    Column("cpu_above_ms", "CPU above bare Python, ms", 1),
)


def measure(bench: Bench) -> list[Section]:
    with BoundQueue(bench.servers.rabbitmq) as queue:
        project = our_project(bench.servers.new_database("PostgreSQL"), queue.url)
        bench.run("make_tables", project)
        return [memory(bench, project, queue), flatness(bench, project, queue), imports(bench)]


def memory(bench: Bench, project: Project, queue: BoundQueue) -> Section:
    rounds: dict[str, list[Figures]] = {}
    for number in range(bench.rounds):
        shell, connected_shell = held_by_shell(bench, project)
        handled = bench.events(HANDLED)
        at_first, after = held_by_subscriber(bench, project, queue, [1, handled], inbox=True)
        held = {
            SHELL: shell,
            CONNECTED_SHELL: connected_shell,
            AT_FIRST: at_first,
            f"run_subscriber, after {handled:,}": after,
        }
        for name, figures in held.items():
            rounds.setdefault(name, []).append({**figures, **above(figures, shell)})
            say(f"  round {number + 1}: {name}: {shown(figures)}")
    return Section("Memory of run_subscriber", Series(rounds), MEMORY_COLUMNS, (), MEMORY_NOTE)


def above(figures: Figures, beside: Figures) -> Figures:
    return {
        f"{kind}_above_mib": figures[f"{kind}_mib"] - beside[f"{kind}_mib"]
        for kind in ("rss", "uss")
    }


def flatness(bench: Bench, project: Project, queue: BoundQueue) -> Section:
    count = MORE if bench.growth else bench.events(MANY)
    looks = [count // 10, count // 2, count]
    found = held_by_subscriber(bench, project, queue, looks, inbox=False)
    rounds = {
        f"after {look:,}": [{**figures, **above(figures, found[0])}]
        for look, figures in zip(looks, found, strict=True)
    }
    columns = (
        *MEMORY_COLUMNS[:2],
        Column("rss_above_mib", "RSS above the first", 1),
        Column("uss_above_mib", "USS above the first", 1),
    )
    return Section(f"Memory over {count:,} events", Series(rounds), columns, (), FLAT_NOTE)


def held_by_shell(bench: Bench, project: Project) -> list[Figures]:
    with bench.start("memory_of_shell", project) as shell:
        return [shell.answer(), shell.answer()]


def held_by_subscriber(
    bench: Bench, project: Project, queue: BoundQueue, looks: list[int], *, inbox: bool
) -> list[Figures]:
    with bench.start("memory_of_subscriber", project, looks=looks, inbox=inbox) as subscriber:
        for first in range(0, looks[-1], PUBLISHED):
            fill(bench, queue, min(PUBLISHED, looks[-1] - first))
        return [subscriber.answer() for _ in looks]


def imports(bench: Bench) -> Section:
    rounds: dict[str, list[Figures]] = {}
    for number in range(bench.rounds):
        times = start_times()
        for name, figures in times.items():
            over = {
                "above_ms": figures["ms"] - times[BARE]["ms"],
                "cpu_above_ms": figures["cpu_ms"] - times[BARE]["cpu_ms"],
            }
            rounds.setdefault(name, []).append({**figures, **over})
            say(f"  round {number + 1}: {name}: {shown(figures)}")
    whether = "imports" if imports_pika() else "does not import"
    note = f"Wanted: at most 40 ms above bare Python. `{OURS}` {whether} pika."
    return Section("Import time", Series(rounds), IMPORT_COLUMNS, (), note)
