"""Requests while the broker is up and while it is down, which they are not to notice.

Each request inserts a row and publishes an event, in one transaction on PostgreSQL.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from tests.support.rabbitmq import RabbitmqNode, speaks_amqp
from tests.support.waiting import wait_until

from ..bench import Bench
from ..percentiles import percentiles_ms
from ..processes import Subject, SubjectFailed
from ..projects import Project, our_project
from ..queues import BoundQueue
from ..rounds import Figures, Series, say, shown
from ..sections import Column, Section

UP, DOWN = "broker up", "broker stopped"
REQUESTS = 1_000
WARM_UP_REQUESTS = 200
ALLOWED_FACTOR, ALLOWED_MS = 1.2, 5.0
START_TIMEOUT_SECONDS = 120

COLUMNS = (
    Column("p50_ms", "p50, ms", 2),
    Column("p99_ms", "p99, ms", 2),
    Column("arrived_seconds", "seconds from the broker's return until all is sent", 1),
)


def measure(bench: Bench) -> list[Section]:
    node = bench.servers.rabbitmq
    rounds: dict[str, list[Figures]] = {UP: [], DOWN: []}
    with BoundQueue(node) as queue, bench.start("web", web_project(bench, queue)) as web:
        web.answer()
        serve(web, WARM_UP_REQUESTS)
        for number in range(bench.rounds):
            one_round(web, node, queue, rounds)
            say(f"  round {number + 1}: up: {shown(rounds[UP][-1])}; {shown(rounds[DOWN][-1])}")
    series = Series(rounds)
    return [Section("Outage of the broker", series, COLUMNS, note=verdict(series))]


def web_project(bench: Bench, queue: BoundQueue) -> Project:
    database = {**bench.servers.new_database("PostgreSQL"), "ATOMIC_REQUESTS": True}
    return our_project(
        database,
        queue.url,
        ROOT_URLCONF="benchmarks.subjects.web",
        ALLOWED_HOSTS=["testserver"],
        SECRET_KEY="of a benchmark",
    )


def one_round(
    web: Subject, node: RabbitmqNode, queue: BoundQueue, rounds: dict[str, list[Figures]]
) -> None:
    wait_until_sent(web)
    queue.purge()
    rounds[UP].append(serve(web, REQUESTS))
    wait_until_sent(web)
    node.stop()
    figures = serve(web, REQUESTS)
    returned_at = start(node)
    sent_at = wait_until_sent(web)
    rounds[DOWN].append({**figures, "arrived_seconds": sent_at - returned_at})
    if queue.count() < 2 * REQUESTS:
        raise SubjectFailed(f"Of {2 * REQUESTS} events {queue.count()} arrived.")


def serve(web: Subject, requests: int) -> Figures:
    web.tell(requests=requests)
    return percentiles_ms(web.answer()["seconds"])


def wait_until_sent(web: Subject) -> float:
    """Wait until the outbox is empty; return when it was."""
    web.tell(wait_until_sent=True)
    return float(web.answer()["sent_at"])


def start(node: RabbitmqNode) -> float:
    """Start the node; return when it began to answer, which is before it is all there."""
    with ThreadPoolExecutor(1) as pool:
        answered_at = pool.submit(time_of_first_answer, node.port)
        node.start(START_TIMEOUT_SECONDS)
        return answered_at.result()


def time_of_first_answer(port: int) -> float:
    wait_until(lambda: speaks_amqp(port), START_TIMEOUT_SECONDS)
    return time.time()


def verdict(series: Series) -> str:
    up, down = (median(series.values(name, "p99_ms")) for name in (UP, DOWN))
    allowed = ALLOWED_FACTOR * up + ALLOWED_MS
    return (
        f"Wanted of the medians: p99 with the broker stopped is at most {ALLOWED_FACTOR} times "
        f"that with it up, and {ALLOWED_MS:g} ms: {allowed:.2f} ms. It is {down:.2f} ms."
    )
