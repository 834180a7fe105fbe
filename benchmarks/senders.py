"""Who publishes straight to RabbitMQ: our subjects, the peers' and the C client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.waiting import wait_until

from .bench import Bench
from .c_clients import run_c_client
from .processes import Answer
from .projects import NO_DJANGO
from .queues import BoundQueue
from .rounds import Figures, rates
from .subjects.event import BODY, EXCHANGE, ROUTING_KEY
from .subjects.sending import WARM_UP_EVENTS

#: Publishes, to the broker of a URL, so many batches of one size.
Sender = Callable[[Bench, str, int, int], Answer]

ARRIVAL_SECONDS = 30


def subject(name: str, *, peer: str | None = None, **parameters: Any) -> Sender:
    def run(bench: Bench, url: str, size: int, batches: int) -> Answer:
        return bench.run(
            name, NO_DJANGO, peer=peer, size=size, batches=batches, broker_url=url, **parameters
        )

    return run


def c_client(bench: Bench, url: str, size: int, batches: int) -> Answer:
    """At most `size` events are unconfirmed: it does not wait between batches."""
    count = size * batches
    return run_c_client("publish", url, EXCHANGE, ROUTING_KEY, count, size, stdin=BODY)


def send(bench: Bench, queue: BoundQueue, sender: Sender, size: int, events: int) -> Figures:
    """Have about so many events published to the empty queue, and see that they are there."""
    queue.purge()
    answer = sender(bench, queue.url, size, max(events // size, 1))
    published = WARM_UP_EVENTS + answer["events"]
    wait_until(
        lambda: queue.count() >= published,
        ARRIVAL_SECONDS,
        lambda: f"of {published} events {queue.count()} arrived",
    )
    return rates(answer)
