"""A broker that goes away and comes back: no event is lost, and the subscriber goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event, Thread

import pytest

from domain_event_broker import DomainEvent, Retry, Subscriber, publish_domain_events
from domain_event_broker.settings import BrokerSetting
from domain_event_broker.transports import close_all
from domain_event_broker.transports.base import Outcome
from tests.conftest import vhost_of
from tests.support.rabbitmq import RabbitmqNode
from tests.support.waiting import wait_until

RECOVERY_SECONDS = 60.0


@dataclass
class Broker:
    """A virtual host on a node that may be stopped."""

    node: RabbitmqNode
    url: str

    @property
    def vhost(self) -> str:
        return vhost_of(self.url)

    @property
    def settings(self) -> BrokerSetting:
        """Patient with publishing, quick to connect again."""
        return {
            "URL": self.url,
            "RECONNECT_DELAY": 0.2,
            "MAX_RECONNECT_DELAY": 1,
            "PUBLISH_TIMEOUT": RECOVERY_SECONDS,
        }

    def publish(self, routing_key: str, count: int) -> list[DomainEvent]:
        events = [DomainEvent(routing_key, {"number": number}) for number in range(count)]
        results = publish_domain_events(events, self.settings)
        assert {result.outcome for result in results} == {Outcome.CONFIRMED}
        return events

    def is_consumed(self) -> bool:
        queue = self.node.queue(self.vhost, "outages")
        return queue is not None and queue.get("consumers") == 1


@pytest.fixture
def broker(restartable_rabbitmq: RabbitmqNode) -> Iterator[Broker]:
    yield Broker(restartable_rabbitmq, restartable_rabbitmq.new_vhost())
    close_all()


class Running:
    """A subscriber that consumes in a thread, noting the ids of what it handled."""

    def __init__(self, broker: Broker) -> None:
        self.subscriber = Subscriber(broker.settings)
        self.handled: list[str] = []
        self._thread = Thread(target=self.subscriber.start_consuming, daemon=True)

    def handle(self, event: DomainEvent) -> None:
        if event.routing_key == "outage.retried" and event.retries == 0:
            raise Retry(0.5)
        self.handled.append(event.uuid_string)

    def start(self) -> None:
        self.subscriber.register(self.handle, "outages", ["outage.*"], max_retries=3)
        self._thread.start()

    def has_handled(self, events: list[DomainEvent]) -> bool:
        return {event.uuid_string for event in events} <= set(self.handled)

    def stop(self) -> None:
        self.subscriber.stop_consuming()
        self._thread.join(RECOVERY_SECONDS)
        assert not self._thread.is_alive()


def close_connections(node: RabbitmqNode, vhost: str) -> None:
    """Close those that are open, and wait until they are gone."""

    def names() -> set[str]:
        return {connection["name"] for connection in node.connections(vhost)}

    closed = names()
    node.close_connections(vhost)
    wait_until(lambda: closed.isdisjoint(names()), RECOVERY_SECONDS)


@pytest.fixture
def running(broker: Broker) -> Iterator[Running]:
    running = Running(broker)
    running.start()
    broker.node.sync_new_queues()
    yield running
    running.stop()


@pytest.mark.parametrize("end", [RabbitmqNode.stop, RabbitmqNode.kill])
def test_a_broker_restarted_while_the_subscriber_runs_costs_no_event(
    broker: Broker, running: Running, end: Callable[[RabbitmqNode], None]
) -> None:
    before = broker.publish("outage.plain", 50) + broker.publish("outage.retried", 20)
    end(broker.node)
    broker.node.start()
    after = broker.publish("outage.plain", 50)
    wait_until(lambda: running.has_handled(before + after), RECOVERY_SECONDS)


def test_connections_closed_by_the_broker_are_opened_again(
    broker: Broker, running: Running
) -> None:
    node, vhost = broker.node, broker.vhost
    events = broker.publish("outage.plain", 1)
    for _ in range(3):
        wait_until(lambda: len(node.connections(vhost)) == 2, RECOVERY_SECONDS)
        close_connections(node, vhost)
        events += broker.publish("outage.plain", 5)
    wait_until(lambda: running.has_handled(events), RECOVERY_SECONDS)


def test_a_publish_that_began_before_the_broker_was_there_is_confirmed_later(
    broker: Broker, running: Running
) -> None:
    broker.node.kill()
    late: list[DomainEvent] = []
    thread = Thread(target=lambda: late.extend(broker.publish("outage.plain", 10)))
    thread.start()
    broker.node.start()
    thread.join(RECOVERY_SECONDS)
    assert len(late) == 10
    wait_until(lambda: running.has_handled(late), RECOVERY_SECONDS)


def test_a_deleted_queue_is_reported_and_declared_anew(
    broker: Broker, running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    node, vhost = broker.node, broker.vhost
    wait_until(broker.is_consumed, RECOVERY_SECONDS)
    node.management.delete("queues", vhost, "outages")
    wait_until(lambda: "the queue was deleted" in caplog.text, RECOVERY_SECONDS)
    wait_until(lambda: node.queue(vhost, "outages") is not None, RECOVERY_SECONDS)
    wait_until(lambda: len(node.bindings(vhost, "outages")) == 3, RECOVERY_SECONDS)
    events = broker.publish("outage.plain", 5)
    wait_until(lambda: running.has_handled(events), RECOVERY_SECONDS)


def test_an_event_in_its_handler_during_the_outage_comes_again(broker: Broker) -> None:
    runs: list[str] = []
    is_back = Event()

    def handle(event: DomainEvent) -> None:
        runs.append(event.uuid_string)
        is_back.wait(RECOVERY_SECONDS)

    subscriber = Subscriber(broker.settings)
    subscriber.register(handle, "outages", ["outage.*"])
    broker.node.sync_new_queues()
    (event,) = broker.publish("outage.plain", 1)
    thread = Thread(target=subscriber.start_consuming)
    thread.start()
    wait_until(lambda: runs, RECOVERY_SECONDS)
    broker.node.kill()
    broker.node.start()
    is_back.set()
    wait_until(lambda: len(runs) == 2, RECOVERY_SECONDS)
    subscriber.stop_consuming()
    thread.join(RECOVERY_SECONDS)
    assert runs == [event.uuid_string] * 2
    assert broker.node.message_count(broker.vhost, "outages") == 0
