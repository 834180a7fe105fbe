"""Thousands of events are retried while the broker restarts: none is lost, none is early."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from random import Random

import pytest

from benchmarks.percentiles import percentiles_ms
from domain_event_broker import Backoff, DomainEvent, Retry, Subscriber, publish_domain_events
from domain_event_broker.names import requeue_exchange
from domain_event_broker.settings import BrokerSetting
from domain_event_broker.transports import close_all
from domain_event_broker.transports.base import Outcome
from tests.amqp.support import EXCHANGE
from tests.conftest import vhost_of
from tests.support.consuming import consuming
from tests.support.rabbitmq import RabbitmqNode
from tests.support.raw_amqp import raw_channel
from tests.support.waiting import wait_until

from .project import PATIENCE_SECONDS
from .runs import with_each_seed

pytestmark = pytest.mark.fault(row=19)

EVENTS = 5_000
#: Each takes a while.
DEFAULT_RUNS = 1
MAX_RETRIES = 3
MAX_DELAY_SECONDS = 3.0
#: By itself: what it draws at random, a handler is not told.
BACKOFF = Backoff(max_retries=MAX_RETRIES, base=0.4, max_delay=MAX_DELAY_SECONDS, jitter=0)
#: Due times are whole milliseconds.
TICK_SECONDS = 0.001
#: As if there were so many other handlers. A booting node restores their bindings first, since it
#: goes by the keys, and before 4.3 routes what falls due meanwhile as if ours were gone.
OTHERS = 1_000
OTHERS_QUEUE = "others"


class Storm:
    """Two handlers that retry as their events say, and a ledger of when each run was due."""

    def __init__(self, random: Random) -> None:
        self.events = [self._event(random, number) for number in range(EVENTS)]
        #: How often each event was handled to its end, by its number.
        self.ends: Counter[int] = Counter()
        self.runs = 0
        #: Of each run after a retry, how long after its time it came.
        self.late_seconds: list[float] = []
        # Of an event's number and its retries so far. Of copies, the first one's.
        self._due_at: dict[tuple[int, int], float] = {}

    def _event(self, random: Random, number: int) -> DomainEvent:
        key = random.choice(("storm.asks", "storm.backs_off"))
        count = random.randint(0, MAX_RETRIES)
        delays = [random.choice((0, random.uniform(0, MAX_DELAY_SECONDS))) for _ in range(count)]
        return DomainEvent(key, {"number": number, "delays": delays})

    def ask(self, event: DomainEvent) -> None:
        """Raise `Retry` with the next of the event's delays."""
        if delays := self._delays_left(event):
            self._note_due(event, delays[0])
            raise Retry(delays[0])

    def back_off(self, event: DomainEvent) -> None:
        """Fail as often as the event has delays, whatever these are."""
        if self._delays_left(event):
            self._note_due(event, BACKOFF.delay_seconds(event.retries + 1))
            raise ConnectionError("not yet")

    @property
    def is_over(self) -> bool:
        return len(self.ends) == EVENTS

    def told(self) -> str:
        late = percentiles_ms(self.late_seconds)
        return (
            f"ended {len(self.ends)}, runs {self.runs}, retries {len(self.late_seconds)}, "
            f"handled twice {sum(self.ends.values()) - len(self.ends)}, "
            f"late by {late['p50_ms']:.0f} ms, p99 {late['p99_ms']:.0f} ms, "
            f"at most {max(self.late_seconds) * 1000:.0f} ms"
        )

    def _delays_left(self, event: DomainEvent) -> list[float]:
        """The delays still to come; the event is at its end if there are none."""
        self.runs += 1
        number: int = event.data["number"]
        if event.retries:
            late_seconds = time.time() - self._due_at[number, event.retries]
            self.late_seconds.append(late_seconds)
        left: list[float] = event.data["delays"][event.retries :]
        if not left:
            self.ends[number] += 1
        return left

    def _note_due(self, event: DomainEvent, delay_seconds: float) -> None:
        run = event.data["number"], event.retries + 1
        self._due_at.setdefault(run, time.time() + delay_seconds)


@pytest.fixture
def settings(restartable_rabbitmq: RabbitmqNode) -> Iterator[BrokerSetting]:
    """Patient with publishing, quick to connect again."""
    yield {
        "URL": restartable_rabbitmq.new_vhost(),
        "RECONNECT_DELAY": 0.1,
        "MAX_RECONNECT_DELAY": 0.5,
        "PUBLISH_TIMEOUT": PATIENCE_SECONDS,
    }
    close_all()


def test_none_is_lost_or_early_and_no_queue_is_left(
    restartable_rabbitmq: RabbitmqNode, settings: dict[str, object]
) -> None:
    run = partial(see_it_through, restartable_rabbitmq, settings)
    with_each_seed("retry storm", run, DEFAULT_RUNS)


def see_it_through(node: RabbitmqNode, settings: dict[str, object], random: Random) -> None:
    storm = Storm(random)
    subscriber = Subscriber(settings)
    subscriber.register(storm.ask, "asks", ["storm.asks"], max_retries=MAX_RETRIES)
    subscriber.register(storm.back_off, "backs_off", ["storm.backs_off"], backoff=BACKOFF)
    url = str(settings["URL"])
    bind_others(url)
    before = queues_of(node, url)
    results = publish_domain_events(storm.events, settings)
    assert {result.outcome for result in results} == {Outcome.CONFIRMED}

    with consuming(subscriber):
        wait_until(lambda: storm.runs > EVENTS // 2, PATIENCE_SECONDS, storm.told)
        node.restart()
        assert not storm.is_over
        wait_until(lambda: storm.is_over, PATIENCE_SECONDS, storm.told)
        # Copies may be on their way.
        wait_until(lambda: not any(ready_in(url, before)), PATIENCE_SECONDS, storm.told)

    assert min(storm.late_seconds) > -TICK_SECONDS
    assert queues_of(node, url) == before
    print(f"retry storm: events {EVENTS}, {storm.told()}, queues {len(before)}")


def bind_others(url: str) -> None:
    with raw_channel(url) as channel:
        channel.queue_declare(OTHERS_QUEUE, durable=True)
        for number in range(OTHERS):
            key = f"a-{number}"
            channel.queue_bind(OTHERS_QUEUE, requeue_exchange(EXCHANGE), routing_key=key)


def queues_of(node: RabbitmqNode, url: str) -> list[str]:
    return sorted(queue["name"] for queue in node.queues(vhost_of(url)))


def ready_in(url: str, queues: list[str]) -> list[int]:
    with raw_channel(url) as channel:
        declared = [channel.queue_declare(queue, passive=True) for queue in queues]
    return [int(each.method.message_count) for each in declared]
