"""`send_and_handle` with dramatiq: an actor that does nothing, and a worker with one thread."""

import threading
from typing import Any

import dramatiq  # type: ignore[import-not-found]
from dramatiq.brokers.rabbitmq import RabbitmqBroker  # type: ignore[import-not-found]

from .clock import Stopwatch
from .consuming import PREFETCH
from .event import HANDLER, data
from .handled import Handled
from .output import tell


class QuorumBroker(RabbitmqBroker):  # type: ignore[misc]
    """It has no setting for the type of its queues."""

    def _build_queue_arguments(self, queue_name: str) -> dict[str, Any]:
        return {**super()._build_queue_arguments(queue_name), "x-queue-type": "quorum"}


def main(works: bool, count: int, broker_url: str, confirms: bool) -> None:
    handled = Handled()
    is_done = threading.Event()

    def handle(**fields: Any) -> None:
        if handled.note() == count:
            is_done.set()

    broker = QuorumBroker(url=broker_url, confirm_delivery=confirms)
    actor = dramatiq.actor(broker=broker, queue_name=HANDLER, actor_name="handle")(handle)
    if works:
        work(broker, is_done)
        handled.tell()
        return
    actor.send(**data())  # connects
    watch = Stopwatch()
    for _ in range(count - 1):
        actor.send(**data())
    tell(**watch.figures(count - 1))
    broker.close()


def work(broker: QuorumBroker, is_done: threading.Event) -> None:
    worker = dramatiq.Worker(broker, worker_threads=1)
    worker.queue_prefetch = PREFETCH  # otherwise, two
    worker.start()
    is_done.wait()
    worker.join()
    worker.stop()
    broker.close()
