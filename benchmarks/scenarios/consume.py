"""Consuming from RabbitMQ to a handler that does nothing, beside what else there is for Python."""

from __future__ import annotations

from functools import partial

from ..backlogs import Consumer, consume, consume_by_c
from ..bench import Bench
from ..peers import DOMAIN_EVENT_BROKER, RABBITMQ
from ..projects import our_project
from ..rounds import Measure, interleaved
from ..sections import Column, Ratio, Section

OURS, IN_DJANGO = "Subscriber", "run_subscriber, inbox=False"
PIKA_WORKER, PIKA = "pika, worker thread", "pika, inline"
KOMBU, AIO_PIKA, EVENTSOURCE = "kombu", "aio-pika", "eventsource-py"
OURS_AS_3X, C_CLIENT = "domain-event-broker 3.0.2", "C client"
COUNT = 20_000
# Of those that take longer for each.
FEW = 5_000

COLUMNS = (
    Column("per_second", "events/s"),
    Column("cpu_us", "CPU us per event"),
    Column("peak_mib", "peak MiB"),
)
RATIOS = (
    Ratio(OURS, PIKA_WORKER, "per_second", ">= 1.8"),
    Ratio(OURS, PIKA, "per_second", ""),
    Ratio(OURS, KOMBU, "per_second", ">= 1.4"),
    Ratio(OURS, AIO_PIKA, "per_second", ""),
    Ratio(OURS, EVENTSOURCE, "per_second", ">= 5"),
    Ratio(OURS, OURS_AS_3X, "per_second", ">= 5"),
    Ratio(IN_DJANGO, OURS, "per_second", ">= 0.8"),
    Ratio(OURS, C_CLIENT, "per_second", ""),
)
NOTE = (
    f"{COUNT:,} events from a quorum queue, {FEW:,} for those at half the pace or less, prefetch "
    f"100 (with {OURS_AS_3X}, 1): from the subscription until the connection is closed, which is "
    "when the broker has read every ack. Each reads the body's JSON but the C client."
)


def measure(bench: Bench) -> list[Section]:
    series = interleaved(subjects(bench), bench.rounds)
    return [Section("Consume from RabbitMQ", series, COLUMNS, RATIOS, NOTE)]


def subjects(bench: Bench) -> dict[str, Measure]:
    measures: dict[str, Measure] = {
        name: partial(consume, bench, consumer) for name, consumer in consumers(bench).items()
    }
    return {**measures, C_CLIENT: partial(consume_by_c, bench, COUNT)}


def consumers(bench: Bench) -> dict[str, Consumer]:
    return {
        OURS: Consumer(subject="consume", count=COUNT),
        IN_DJANGO: Consumer(
            subject="consume_in_django",
            count=COUNT,
            project=partial(our_project, bench.servers.new_database("PostgreSQL")),
            parameters={"inbox": False, "inserts": False},
        ),
        PIKA_WORKER: Consumer(subject="pika_consume", count=COUNT, parameters={"worker": True}),
        PIKA: Consumer(subject="pika_consume", count=COUNT, parameters={"worker": False}),
        KOMBU: Consumer(subject="peer_kombu_consume", count=COUNT, peer=RABBITMQ),
        AIO_PIKA: Consumer(subject="peer_aio_pika_consume", count=FEW, peer=RABBITMQ),
        EVENTSOURCE: Consumer(
            subject="peer_eventsource_consume",
            count=FEW,
            peer=RABBITMQ,
            declares=True,
            publishes=True,
        ),
        OURS_AS_3X: Consumer(
            subject="peer_consume_as_3x", count=FEW, peer=DOMAIN_EVENT_BROKER, declares=True
        ),
    }
