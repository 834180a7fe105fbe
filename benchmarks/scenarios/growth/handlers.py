"""From ten handlers to a thousand, each with a queue of its own; each event is for one of them."""

from __future__ import annotations

from contextlib import ExitStack

from tests.support.rabbitmq import RabbitmqNode
from tests.support.releases import find_release, requested_releases

from ...bench import Bench
from ...processes import Answer
from ...projects import DATABASE_TRANSPORT, our_project
from ...queues import UndeclaredQueue
from ...sections import Section
from .passing import pass_through
from .tables import Costs, columns, cost_beyond, measured, plot

HANDLERS, MORE_HANDLERS = (10, 100), (10, 100, 1_000)
# So many for each, of the most handlers. What the first of a handler costs is no part of it: that
# comes one by one, or in small batches, as does what follows a start.
FEW_OF_EACH, MORE_OF_EACH = 100, 300
# As a broker comes. The other benchmarks' looks at each queue ten times as often.
AS_DEFAULT = {"quorum_tick_interval": "5000"}

NOTE = (
    "The same number of events for each number of handlers, in turn for one after the other; all "
    f"handlers in one process and one thread. Measured with {FEW_OF_EACH} and with {MORE_OF_EACH} "
    "for each where they are most: what counts is the difference, as the start of a handler is no "
    "part of an event. Wanted is a growth of at most 1.15. Many quorum queues cost the broker more "
    "than few, and it has the same processors: CPU is what our process takes."
)


def measure(bench: Bench) -> Section:
    sizes = MORE_HANDLERS if bench.growth else HANDLERS
    few, more = (bench.events(each * sizes[-1]) for each in (FEW_OF_EACH, MORE_OF_EACH))
    with ExitStack() as stack:
        release = find_release(requested_releases()[0])
        node = stack.enter_context(RabbitmqNode(release, rabbit_settings=AS_DEFAULT))
        queues = {size: stack.enter_context(UndeclaredQueue(node)) for size in sizes}
        database = bench.servers.new_database("PostgreSQL")

        def answers(handlers: int, count: int) -> dict[str, Answer]:
            passed = pass_through(bench, queues[handlers], database, count, handlers=handlers)
            return {**passed, **in_database(bench, count, handlers)}

        def costs(handlers: int) -> Costs:
            first, second = answers(handlers, few), answers(handlers, more)
            return {name: cost_beyond(first[name], second[name]) for name in first}

        series = measured(sizes, bench.rounds, costs)
    headings = columns(sizes, "handlers", "growth")
    lines = plot("growth-handlers", "handlers", series, sizes)
    return Section("Growth: with the number of handlers", series, headings, (), NOTE, lines)


def in_database(bench: Bench, count: int, handlers: int) -> dict[str, Answer]:
    project = our_project(bench.servers.new_database("PostgreSQL"), DATABASE_TRANSPORT)
    with bench.start("many_in_database", project, count=count, handlers=handlers) as subject:
        return {"publish, PostgreSQL": subject.answer(), "consume, PostgreSQL": subject.answer()}
