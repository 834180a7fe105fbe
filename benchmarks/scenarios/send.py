"""Publishing straight to RabbitMQ, without Django, until it has confirmed: ours beside clients."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from .. import senders
from ..bench import Bench
from ..peers import DOMAIN_EVENT_BROKER, RABBITMQ
from ..queues import BoundQueue
from ..rounds import Measure, interleaved
from ..sections import Column, Ratio, Section
from ..senders import Sender

THREADS = 16
BATCH, GATHERED = 10_000, 1_000
ONE, BY_THREADS = "publish_domain_event", f"publish_domain_event, {THREADS} threads"
AT_ONCE = f"publish_domain_events of {BATCH:,}"
PIKA, KOMBU = "pika, BlockingConnection", "kombu, confirm_publish"
AIO_PIKA, AIO_PIKA_GATHER = "aio-pika, confirm each", f"aio-pika, gather {GATHERED:,}"
EVENTSOURCE = f"eventsource-py, publish of {GATHERED:,}"
AS_3X = "domain-event-broker 3.0.2"
C_CLIENT, C_CLIENT_WINDOW = "C client, window 1", f"C client, window {GATHERED:,}"


@dataclass(frozen=True)
class Task:
    """What one of them does in a round: about so many events, of which `size` in one call."""

    sender: Sender
    events: int
    size: int


TASKS = {
    C_CLIENT: Task(senders.c_client, 6_000, 1),
    C_CLIENT_WINDOW: Task(senders.c_client, 60_000, GATHERED),
    ONE: Task(senders.subject("send", threads=1), 4_000, 1),
    BY_THREADS: Task(senders.subject("send", threads=THREADS), 16_000, 4_000),
    AT_ONCE: Task(senders.subject("send_batches"), 40_000, BATCH),
    PIKA: Task(senders.subject("pika_send"), 4_000, 1),
    KOMBU: Task(senders.subject("peer_kombu_send", peer=RABBITMQ), 4_000, 1),
    AIO_PIKA: Task(senders.subject("peer_aio_pika_send", peer=RABBITMQ), 3_000, 1),
    AIO_PIKA_GATHER: Task(senders.subject("peer_aio_pika_send", peer=RABBITMQ), 10_000, GATHERED),
    EVENTSOURCE: Task(senders.subject("peer_eventsource_send", peer=RABBITMQ), 5_000, GATHERED),
    AS_3X: Task(senders.subject("peer_send_as_3x", peer=DOMAIN_EVENT_BROKER), 300, 1),
}

COLUMNS = (
    Column("per_second", "events/s"),
    Column("cpu_us", "CPU us per event"),
    Column("peak_mib", "peak MiB"),
)
RATIOS = (
    Ratio(ONE, PIKA, "per_second", ">= 0.8"),
    Ratio(ONE, AS_3X, "per_second", ">= 6"),
    Ratio(BY_THREADS, PIKA, "per_second", ">= 3"),
    Ratio(AT_ONCE, C_CLIENT_WINDOW, "per_second", ">= 0.5"),
    Ratio(AT_ONCE, AIO_PIKA_GATHER, "per_second", ">= 3.5"),
    Ratio(ONE, C_CLIENT, "per_second", ""),
    Ratio(AT_ONCE, EVENTSOURCE, "per_second", ""),
)
NOTE = (
    "Persistent and mandatory, 279 bytes of JSON, to one quorum queue, which is emptied before "
    f"each. {AS_3X} asks for no confirm, and neither it nor eventsource-py is given its body "
    f"encoded, nor are ours. Wanted of {AT_ONCE}: at most 45 us of CPU per event."
)


def measure(bench: Bench) -> list[Section]:
    with BoundQueue(bench.servers.rabbitmq) as queue:
        series = interleaved(
            {name: measure_of(bench, queue, task) for name, task in TASKS.items()}, bench.rounds
        )
    return [Section("Send: to RabbitMQ, confirmed", series, COLUMNS, RATIOS, NOTE)]


def measure_of(bench: Bench, queue: BoundQueue, task: Task) -> Measure:
    events = bench.events(task.events)
    return partial(senders.send, bench, queue, task.sender, task.size, events)
