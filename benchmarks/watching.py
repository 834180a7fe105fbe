"""Watching a queue fill, from outside of what fills it."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

from pika.adapters.blocking_connection import BlockingChannel

from tests.support.raw_amqp import raw_channel

from .queues import BoundQueue
from .subjects.event import HANDLER

INTERVAL_SECONDS = 0.05


class QueueWatch:
    """While the context lasts, notes twenty times a second how many events are in the queue."""

    def __init__(self, queue: BoundQueue) -> None:
        self._url = queue.url
        self._looks: list[tuple[float, int]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def per_second(self, first: int, last: int) -> float:
        """How fast it filled from `first` to `last` events."""
        return (last - first) / (self._reached(last) - self._reached(first))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _reached(self, count: int) -> float:
        """When so many were there for the first time."""
        return next(at for at, there in self._looks if there >= count)

    def _watch(self) -> None:
        with raw_channel(self._url) as channel:
            while not self._stop.wait(INTERVAL_SECONDS):
                self._look(channel)
            self._look(channel)

    def _look(self, channel: BlockingChannel) -> None:
        count = channel.queue_declare(HANDLER, passive=True).method.message_count
        self._looks.append((time.monotonic(), count))
