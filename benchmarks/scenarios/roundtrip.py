"""Tasks that do nothing, sent and then handled: ours beside dramatiq and Celery."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from ..backlogs import check_empty
from ..bench import Bench
from ..handled import handled_rates
from ..peers import RABBITMQ
from ..projects import NO_DJANGO
from ..queues import UndeclaredQueue
from ..rounds import Figures, interleaved, rates
from ..sections import Column, Ratio, Section

OURS, OURS_AT_ONCE = "publish_domain_event, Subscriber", "publish_domain_events, Subscriber"
DRAMATIQ, CELERY = "dramatiq", "Celery"
CONFIRMED_DRAMATIQ, CONFIRMED_CELERY = "dramatiq, confirmed", "Celery, confirmed"
COUNT = 3_000
# Celery's worker may end without the acks of its last tasks: too few to move a rate.
LEFT_BY_CELERY = 10


@dataclass(frozen=True)
class Pair:
    """A subject that sends, and in another process works."""

    subject: str
    peer: str | None = None
    options: dict[str, bool] = field(default_factory=dict)
    #: Events that may stay unacknowledged at its end.
    most_left: int = 0


PAIRS = {
    OURS: Pair("send_and_handle", options={"at_once": False}),
    OURS_AT_ONCE: Pair("send_and_handle", options={"at_once": True}),
    DRAMATIQ: Pair("peer_dramatiq", RABBITMQ, {"confirms": False}),
    CONFIRMED_DRAMATIQ: Pair("peer_dramatiq", RABBITMQ, {"confirms": True}),
    CELERY: Pair("peer_celery", RABBITMQ, {"confirms": False}, LEFT_BY_CELERY),
    CONFIRMED_CELERY: Pair("peer_celery", RABBITMQ, {"confirms": True}, LEFT_BY_CELERY),
}

COLUMNS = (
    Column("sent_per_second", "sent/s"),
    Column("sent_cpu_us", "CPU us per event sent"),
    Column("handled_per_second", "handled/s"),
    Column("handled_cpu_us", "CPU us per event handled"),
    Column("per_second", "both, events/s"),
)
RATIOS = tuple(
    Ratio(OURS, peer, "per_second", "")
    for peer in (DRAMATIQ, CONFIRMED_DRAMATIQ, CELERY, CONFIRMED_CELERY)
)
NOTE = (
    f"{COUNT:,} events or tasks, sent one by one by one process, but with {OURS_AT_ONCE} in one "
    "call, and then handled by another with one thread, prefetch 100, acknowledged when done; all "
    "through one quorum queue. Ours is confirmed. The ratios are those of both together."
)


def measure(bench: Bench) -> list[Section]:
    measures = {name: partial(round_trip, bench, pair) for name, pair in PAIRS.items()}
    series = interleaved(measures, bench.rounds)
    return [Section("Round trip: sent and handled", series, COLUMNS, RATIOS, NOTE)]


def round_trip(bench: Bench, pair: Pair) -> Figures:
    count = bench.events(COUNT)
    with UndeclaredQueue(bench.servers.rabbitmq) as queue:
        run = partial(
            bench.run,
            pair.subject,
            NO_DJANGO,
            peer=pair.peer,
            count=count,
            broker_url=queue.url,
            **pair.options,
        )
        sent = rates(run(works=False))
        handled = handled_rates([run(works=True)], count)
        check_empty(queue, pair.subject, pair.most_left)
    return {
        "per_second": 1 / (1 / sent["per_second"] + 1 / handled["per_second"]),
        **{f"sent_{name}": value for name, value in sent.items()},
        **{f"handled_{name}": value for name, value in handled.items()},
    }
