"""From ten handlers to a thousand, each with a queue of its own; each event is for one of them."""

from __future__ import annotations

from contextlib import ExitStack

from tests.support.rabbitmq import RabbitmqNode
from tests.support.releases import find_release, requested_releases

from ...bench import Bench
from ...projects import DATABASE_TRANSPORT, our_project
from ...queues import UndeclaredQueue
from ...rounds import rates
from ...sections import Section
from .passing import pass_through
from .tables import Costs, columns, costs_of, measured, plot

HANDLERS, MORE_HANDLERS = (10, 100), (10, 100, 1_000)
# Of the most handlers, so many for each: next to that, their start is nothing.
EVENTS_OF_EACH = 100
# As a broker comes. The other benchmarks' looks at each queue ten times as often.
AS_DEFAULT = {"quorum_tick_interval": "5000"}

NOTE = (
    f"The same number of events for each number of handlers, {EVENTS_OF_EACH} for each where they "
    "are most, in turn for one after the other; all handlers in one process and one thread. Wanted "
    "is a growth of at most 1.15. Many quorum queues cost the broker more than few, and it has the "
    "same processors: CPU is what our process takes."
)


def measure(bench: Bench) -> Section:
    sizes = MORE_HANDLERS if bench.growth else HANDLERS
    count = bench.events(EVENTS_OF_EACH * sizes[-1])
    with ExitStack() as stack:
        release = find_release(requested_releases()[0])
        node = stack.enter_context(RabbitmqNode(release, rabbit_settings=AS_DEFAULT))
        queues = {size: stack.enter_context(UndeclaredQueue(node)) for size in sizes}
        database = bench.servers.new_database("PostgreSQL")

        def costs(handlers: int) -> Costs:
            passed = pass_through(bench, queues[handlers], database, count, handlers=handlers)
            return {**passed, **in_database(bench, count, handlers)}

        series = measured(sizes, bench.rounds, costs)
    headings = columns(sizes, "handlers", "growth")
    lines = plot("growth-handlers", "handlers", series, sizes)
    return Section("Growth: with the number of handlers", series, headings, (), NOTE, lines)


def in_database(bench: Bench, count: int, handlers: int) -> Costs:
    project = our_project(bench.servers.new_database("PostgreSQL"), DATABASE_TRANSPORT)
    with bench.start("many_in_database", project, count=count, handlers=handlers) as subject:
        answers = {"publish, PostgreSQL": subject.answer(), "consume, PostgreSQL": subject.answer()}
    return {name: costs_of(rates(answer)) for name, answer in answers.items()}
