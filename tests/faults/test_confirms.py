"""RabbitMQ is killed under load: what was confirmed is there afterwards, all of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from random import Random
from threading import Event, Thread
from uuid import uuid4

import pytest

from domain_event_broker import DomainEvent, Subscriber, publish_domain_event
from domain_event_broker.errors import TransportError
from domain_event_broker.settings import BrokerSetting
from domain_event_broker.transports import close_all
from tests.support.consuming import consuming
from tests.support.rabbitmq import RabbitmqNode
from tests.support.waiting import wait_until

from .project import PATIENCE_SECONDS
from .recovery import Fault, note
from .runs import with_each_seed

pytestmark = pytest.mark.fault(row=3)

THREADS = 4
PREFETCH = 10
MOST_CONFIRMED = 600
CONFIRMED_LATER = 100
RESUME_SECONDS = 5.0
PUBLISHED = Fault(3, "broker killed: a publish confirmed after it answers", RESUME_SECONDS)
HANDLED = Fault(3, "broker killed: an event handled after it answers", RESUME_SECONDS)


class Load:
    """Threads that publish, a handler, and what each was told."""

    def __init__(self, settings: BrokerSetting) -> None:
        self.attempted: list[str] = []
        self.confirmed: list[str] = []
        self.handled: list[str] = []
        self._settings = settings

    def publish_until(self, is_over: Event) -> None:
        while not is_over.is_set():
            event_id = str(uuid4())
            self.attempted.append(event_id)
            try:
                publish_domain_event(
                    "load.made", {}, uuid_string=event_id, connection_settings=self._settings
                )
            except TransportError:
                continue  # nobody was told that it is stored
            self.confirmed.append(event_id)

    def handle(self, event: DomainEvent) -> None:
        self.handled.append(event.uuid_string)

    def lost(self) -> set[str]:
        return set(self.confirmed) - set(self.handled)

    def told(self) -> str:
        counts = (len(self.attempted), len(self.confirmed), len(self.handled), len(self.lost()))
        return "attempted {}, confirmed {}, handled {}, lost {}".format(*counts)


@pytest.fixture
def settings(restartable_rabbitmq: RabbitmqNode) -> Iterator[BrokerSetting]:
    """Impatient, so that publishes fail in an outage."""
    yield {
        "URL": restartable_rabbitmq.new_vhost(),
        "RECONNECT_DELAY": 0.1,
        "MAX_RECONNECT_DELAY": 0.5,
        "PUBLISH_TIMEOUT": 2,
        "PREFETCH": PREFETCH,
    }
    close_all()


def test_what_was_confirmed_is_handled(
    restartable_rabbitmq: RabbitmqNode, settings: BrokerSetting
) -> None:
    load = Load(settings)
    subscriber = Subscriber(settings)
    subscriber.register(load.handle, "load", ["load.*"])
    restartable_rabbitmq.sync_new_queues()

    def run(random: Random) -> None:
        kill_under_load(restartable_rabbitmq, load, random)

    with consuming(subscriber):
        seeds = with_each_seed("broker killed under load", run)
        wait_until(lambda: not load.lost(), PATIENCE_SECONDS, load.told)
    assert set(load.handled) <= set(load.attempted)
    again = sum(count - 1 for count in Counter(load.handled).values())
    # What was on its way to the broker, and what the subscriber held.
    assert again <= len(seeds) * (THREADS + PREFETCH)
    print(f"broker killed under load: runs {len(seeds)}, {load.told()}, handled again {again}")


def kill_under_load(node: RabbitmqNode, load: Load, random: Random) -> None:
    is_over = Event()
    threads = [Thread(target=load.publish_until, args=[is_over]) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        wait_for_more(load, random.randint(1, MOST_CONFIRMED))
        node.kill()
        node.start()
        began_at = time.monotonic()
        handled = len(load.handled)
        wait_for_more(load, 1)
        note(PUBLISHED, time.monotonic() - began_at)
        wait_until(lambda: len(load.handled) > handled, PATIENCE_SECONDS, load.told)
        note(HANDLED, time.monotonic() - began_at)
        wait_for_more(load, CONFIRMED_LATER)
    finally:
        is_over.set()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)


def wait_for_more(load: Load, count: int) -> None:
    wanted = len(load.confirmed) + count
    wait_until(lambda: len(load.confirmed) >= wanted, PATIENCE_SECONDS, load.told)
