"""Events that are published one after the other and handled meanwhile, without Django."""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections import Counter
from contextlib import ExitStack
from itertools import pairwise
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

from domain_event_broker import (
    DomainEvent,
    DomainEventBrokerError,
    Subscriber,
    publish_domain_event,
)
from domain_event_broker.transports import close_all
from tests.conftest import vhost_of
from tests.support.cluster import RabbitmqCluster
from tests.support.consuming import consuming
from tests.support.rabbitmq import RabbitmqNode
from tests.support.waiting import wait_until

from ..project import PATIENCE_SECONDS

QUEUE = "traffic"
#: So many confirmed events, or handled ones, show that it goes on.
ENOUGH = 100
#: Between two publishes: the machine has other work to do.
PAUSE_SECONDS = 0.01


class Traffic:
    """A publisher and a subscriber in threads of this process, and what they know."""

    def __init__(self, cluster: RabbitmqCluster, settings: dict[str, Any]) -> None:
        self.cluster = cluster
        self.settings = settings
        self.vhost = vhost_of(settings["URL"][0])
        self.errors: list[DomainEventBrokerError] = []
        self._attempted: set[str] = set()
        self._confirmed: list[str] = []
        self._handled: Counter[str] = Counter()
        # When something was confirmed, and when something was handled.
        self.confirmed_at: list[float] = []
        self.handled_at: list[float] = []
        self._is_over = Event()
        self._publisher = Thread(target=self._publish, name="traffic")
        self._subscriber = Subscriber(settings)
        self._ends = ExitStack()

    def _publish(self) -> None:
        while not self._is_over.wait(PAUSE_SECONDS):
            event = DomainEvent("traffic.sent", {})
            self._attempted.add(event.uuid_string)
            try:
                publish_domain_event(
                    event.routing_key,
                    event.data,
                    uuid_string=event.uuid_string,
                    connection_settings=self.settings,
                )
            except DomainEventBrokerError as error:
                self.errors.append(error)
            else:
                self._confirmed.append(event.uuid_string)
                self.confirmed_at.append(time.monotonic())

    def _handle(self, event: DomainEvent) -> None:
        self._handled[event.uuid_string] += 1
        self.handled_at.append(time.monotonic())

    def __enter__(self) -> Self:
        self._subscriber.register(self._handle, QUEUE, ["traffic.*"])
        self.cluster.sync_new_queues()
        self._ends.callback(close_all)
        self._ends.enter_context(consuming(self._subscriber))
        self._ends.callback(self._stop_publishing)
        self._publisher.start()
        self.wait_for_both(time.monotonic())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ends.close()

    def _stop_publishing(self) -> None:
        self._is_over.set()
        self._publisher.join(PATIENCE_SECONDS)

    # Where it is

    def leader(self) -> RabbitmqNode:
        """The node with the queue's leader."""
        return self.cluster.leader_of(self.vhost, QUEUE)

    def node_of(self, purpose: str) -> RabbitmqNode:
        """The node that the connection of the publisher, or of the subscriber, is open to."""

        def find() -> list[str]:
            return [
                row["node"]
                for row in self.cluster.nodes[0].connections(self.vhost)
                if ours in row.get("client_properties", {}).get("connection_name", "")
            ]

        ours = f": {purpose} (process {os.getpid()})"
        names = wait_until(find, PATIENCE_SECONDS, f"There is no connection of the {purpose}.")
        return self.cluster.node_named(names[0])

    # What came of it

    def wait_for_both(self, since: float) -> None:
        """Wait until enough was confirmed, and enough handled, after that moment."""

        def is_enough() -> bool:
            counts = (count_since(since, each) for each in (self.confirmed_at, self.handled_at))
            return min(counts) >= ENOUGH

        wait_until(is_enough, PATIENCE_SECONDS, self.story)

    def see_none_lost(self) -> None:
        """Publish no more; see that all that was confirmed was handled, and nothing else."""
        self._stop_publishing()
        confirmed = set(self._confirmed)
        wait_until(lambda: confirmed <= self._handled.keys(), PATIENCE_SECONDS, self.story)
        assert self._handled.keys() <= self._attempted

    def told(self) -> str:
        copies = sum(self._handled.values()) - len(self._handled)
        return f"confirmed {len(self._confirmed)}, failed {len(self.errors)}, copies {copies}"

    def story(self) -> str:
        lost = len(set(self._confirmed) - self._handled.keys())
        errors = [f"{type(error).__name__}: {error}" for error in self.errors[-5:]]
        return "\n".join([f"{self.told()}, not handled {lost}", *errors, self.cluster.story()])


def count_since(since: float, moments: list[float]) -> int:
    return len(moments) - bisect_left(moments, since)


def longest_pause(since: float, moments: list[float]) -> float:
    """The longest time between two of those after `since`, or from then to the first."""
    times = [since, *moments[bisect_left(moments, since) :]]
    return max(later - earlier for earlier, later in pairwise(times))
