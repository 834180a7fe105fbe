"""`run_subscriber` with several processes, and with several threads: what that is good for."""

from __future__ import annotations

from functools import partial

from ..backlogs import check_empty, fill
from ..bench import Bench
from ..handled import handled_rates
from ..projects import Project, our_project
from ..queues import BoundQueue
from ..rounds import Figures, Measure, interleaved
from ..sections import Column, Ratio, Section

BURNS, SLEEPS = 3_000, 300
ONE, TWO = "--processes 1", "--processes 2"
THREADS = (1, 4, 16)

COLUMNS = (Column("per_second", "events/s"), Column("cpu_us", "CPU us per event"))
RATIOS = (Ratio(TWO, ONE, "per_second", ">= 1.5"),)
NOTE = (
    f"{BURNS:,} events from a quorum queue to a handler that uses the processor for 1 ms; from the "
    "first event handled to the last, in whichever process. The broker has the same processors."
)
THREAD_NOTE = (
    f"{SLEEPS:,} events for each thread, to a handler that sleeps for 5 ms and has as high a "
    "concurrency: at most 200 events/s for each thread."
)


def measure(bench: Bench) -> list[Section]:
    database = bench.servers.new_database("PostgreSQL")
    with BoundQueue(bench.servers.rabbitmq) as queue:
        project = our_project(database, queue.url)
        bench.run("make_tables", project)
        processes = interleaved(by_processes(bench, project, queue), bench.rounds)
        threads = interleaved(by_threads(bench, project, queue), bench.rounds)
    return [
        Section("Processes: a handler that works for 1 ms", processes, COLUMNS, RATIOS, NOTE),
        Section(
            "Threads: a handler that waits for 5 ms", threads, COLUMNS, thread_ratios(), THREAD_NOTE
        ),
    ]


def by_processes(bench: Bench, project: Project, queue: BoundQueue) -> dict[str, Measure]:
    return {
        name: partial(run, bench, project, queue, count=BURNS, work="burn", processes=processes)
        for name, processes in ((ONE, 1), (TWO, 2))
    }


def by_threads(bench: Bench, project: Project, queue: BoundQueue) -> dict[str, Measure]:
    return {
        with_threads(each): partial(
            run, bench, project, queue, count=each * SLEEPS, work="sleep", threads=each
        )
        for each in THREADS
    }


def with_threads(count: int) -> str:
    return f"--threads {count}"


def thread_ratios() -> list[Ratio]:
    first = with_threads(THREADS[0])
    return [Ratio(with_threads(each), first, "per_second", "") for each in THREADS[1:]]


def run(
    bench: Bench,
    project: Project,
    queue: BoundQueue,
    *,
    count: int,
    work: str,
    processes: int = 1,
    threads: int = 1,
) -> Figures:
    """Handle a backlog; `threads` are those of each process, and the handler's concurrency."""
    count = bench.events(count)
    fill(bench, queue, count)
    options = {"processes": processes, "threads": threads}
    with bench.start(
        "command", project, work=work, concurrency=threads, options=options
    ) as running:
        # With one, it handles; of several there is one more, which watches the others.
        answers = [running.answer() for _ in range(processes + (processes > 1))]
    check_empty(queue, "run_subscriber")
    return handled_rates(answers, count)
