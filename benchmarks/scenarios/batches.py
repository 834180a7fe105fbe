"""How publishing to RabbitMQ grows with the number of events in one call."""

from __future__ import annotations

from collections.abc import Mapping

from .. import senders
from ..bench import Bench
from ..peers import RABBITMQ
from ..plots import Plot, lines_of
from ..queues import BoundQueue
from ..rounds import Figures, Measure, interleaved
from ..sections import Column, Section
from ..senders import Sender

OURS, C_CLIENT = "publish_domain_events", "C client, window"
AIO_PIKA, EVENTSOURCE = "aio-pika, gather", "eventsource-py, publish"
SENDERS: Mapping[str, Sender] = {
    C_CLIENT: senders.c_client,
    OURS: senders.subject("send_batches"),
    AIO_PIKA: senders.subject("peer_aio_pika_send", peer=RABBITMQ),
    EVENTSOURCE: senders.subject("peer_eventsource_send", peer=RABBITMQ),
}
#: By size of the batch, how many events are published in a round: for about a second each.
EVENTS = {1: 2_000, 10: 5_000, 100: 10_000, 1_000: 20_000, 10_000: 20_000}
# Those that publish events a batch concurrently, but each by itself.
SLOW_EVENTS = {1: 1_000, 10: 3_000, 100: 4_000, 1_000: 5_000, 10_000: 10_000}
SLOW = (AIO_PIKA, EVENTSOURCE)

FIGURES = {size: f"per_second_of_{size}" for size in EVENTS}
COLUMNS = [Column(figure, f"{size:,} in one call") for size, figure in FIGURES.items()]
NOTE = (
    "Events per second, confirmed, by the number of events in one call. The C client publishes on "
    "while at most so many are unconfirmed; the others wait for the whole batch."
)


def measure(bench: Bench) -> list[Section]:
    with BoundQueue(bench.servers.rabbitmq) as queue:
        series = interleaved({name: sweep(bench, queue, name) for name in SENDERS}, bench.rounds)
    plot = Plot(
        "send-by-batch",
        "events in one call",
        "events per second, confirmed",
        lines_of(series, FIGURES),
        logarithmic=True,
    )
    return [Section("Send: by size of the batch", series, COLUMNS, note=NOTE, plot=plot)]


def sweep(bench: Bench, queue: BoundQueue, name: str) -> Measure:
    def run() -> Figures:
        figures: Figures = {}
        for size, events in (SLOW_EVENTS if name in SLOW else EVENTS).items():
            sent = senders.send(bench, queue, SENDERS[name], size, bench.events(events))
            figures[FIGURES[size]] = sent["per_second"]
        return figures

    return run
