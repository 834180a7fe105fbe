"""Consuming a backlog: a queue is filled while its consumer stands ready, which then empties it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .bench import Bench
from .c_clients import run_c_client
from .processes import SubjectFailed
from .projects import NO_DJANGO, Project
from .queues import BoundQueue, UndeclaredQueue
from .rounds import Figures, rates, say
from .subjects.consuming import PREFETCH
from .subjects.event import HANDLER


@dataclass(frozen=True, kw_only=True)
class Consumer:
    """A subject that consumes, and how."""

    subject: str
    count: int
    #: By the broker's URL.
    project: Callable[[str], Project] = lambda url: NO_DJANGO
    peer: str | None = None
    #: Whether it declares the queue itself, and whether it publishes what it consumes.
    declares: bool = False
    publishes: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)


def consume(bench: Bench, consumer: Consumer) -> Figures:
    """Have it consume a backlog, from a queue of its own."""
    count = bench.events(consumer.count)
    queue_type = UndeclaredQueue if consumer.declares else BoundQueue
    with queue_type(bench.servers.rabbitmq) as queue:
        with bench.start(
            consumer.subject,
            consumer.project(queue.url),
            peer=consumer.peer,
            count=count,
            broker_url=queue.url,
            **consumer.parameters,
        ) as running:
            running.answer()
            if not consumer.publishes:
                fill(bench, queue, count)
            running.tell(begin=True)
            answer = running.answer()
        check_empty(queue, consumer.subject)
    return rates(answer)


def consume_by_c(bench: Bench, count: int) -> Figures:
    """Have the C client do the same."""
    count = bench.events(count)
    with BoundQueue(bench.servers.rabbitmq) as queue:
        fill(bench, queue, count)
        answer = run_c_client("consume", queue.url, HANDLER, count, PREFETCH)
        check_empty(queue, "The C client")
    return rates(answer)


def fill(bench: Bench, queue: UndeclaredQueue, count: int) -> None:
    bench.run("publish_at_once", NO_DJANGO, count=count, broker_url=queue.url)


def check_empty(queue: UndeclaredQueue, who: str, most_left: int = 0) -> None:
    """What was not acknowledged is in the queue again once its consumer has gone."""
    left = queue.count()
    if left > most_left:
        raise SubjectFailed(f"{who} left {left} events.")
    if left:
        say(f"  {who} left {left} events")
