"""A broker that goes away and comes back: no event is lost, and the subscriber goes on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from threading import Event, Thread

import pytest

from domain_event_broker import DomainEvent, Retry, Subscriber, publish_domain_events
from domain_event_broker.settings import BrokerSetting
from domain_event_broker.transports import close_all
from domain_event_broker.transports.base import Outcome
from tests.conftest import PrivateRabbitmq
from tests.support.rabbitmq import RabbitmqNode
from tests.support.waiting import wait_until

RECOVERY_SECONDS = 60.0


@pytest.fixture
def node(private_rabbitmq: PrivateRabbitmq) -> Iterator[RabbitmqNode]:
    yield private_rabbitmq()
    close_all()


def is_consumed(node: RabbitmqNode) -> bool:
    queue = node.queue("/", "outages")
    return queue is not None and queue.get("consumers") == 1


class Running:
    """A subscriber that consumes in a thread, noting the ids of what it handled."""

    def __init__(self, broker: BrokerSetting) -> None:
        self.subscriber = Subscriber(broker)
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


@pytest.fixture
def running(node: RabbitmqNode) -> Iterator[Running]:
    running = Running(patient(node))
    running.start()
    # RabbitMQ notes on disk that a quorum queue exists some time after it was declared; one that
    # is killed before that starts the queue anew, empty. After a restart it is noted.
    node.restart()
    yield running
    running.stop()


def patient(node: RabbitmqNode) -> BrokerSetting:
    return {
        "URL": node.url,
        "RECONNECT_DELAY": 0.2,
        "MAX_RECONNECT_DELAY": 1,
        "PUBLISH_TIMEOUT": RECOVERY_SECONDS,
    }


def publish(node: RabbitmqNode, routing_key: str, count: int) -> list[DomainEvent]:
    events = [DomainEvent(routing_key, {"number": number}) for number in range(count)]
    results = publish_domain_events(events, patient(node))
    assert {result.outcome for result in results} == {Outcome.CONFIRMED}
    return events


@pytest.mark.parametrize("end", [RabbitmqNode.stop, RabbitmqNode.kill])
def test_a_broker_restarted_while_the_subscriber_runs_costs_no_event(
    node: RabbitmqNode, running: Running, end: object
) -> None:
    before = publish(node, "outage.plain", 50) + publish(node, "outage.retried", 20)
    assert callable(end)
    end(node)
    node.start()
    after = publish(node, "outage.plain", 50)
    wait_until(lambda: running.has_handled(before + after), RECOVERY_SECONDS)


def test_connections_closed_by_the_broker_are_opened_again(
    node: RabbitmqNode, running: Running
) -> None:
    events = publish(node, "outage.plain", 1)
    for _ in range(3):
        wait_until(lambda: len(node.connections()) == 2, RECOVERY_SECONDS)
        node.close_connections()
        wait_until(lambda: len(node.connections()) == 0, RECOVERY_SECONDS)
        events += publish(node, "outage.plain", 5)
    wait_until(lambda: running.has_handled(events), RECOVERY_SECONDS)


def test_a_publish_that_began_before_the_broker_was_there_is_confirmed_later(
    node: RabbitmqNode, running: Running
) -> None:
    node.kill()
    late: list[DomainEvent] = []
    thread = Thread(target=lambda: late.extend(publish(node, "outage.plain", 10)))
    thread.start()
    node.start()
    thread.join(RECOVERY_SECONDS)
    assert len(late) == 10
    wait_until(lambda: running.has_handled(late), RECOVERY_SECONDS)


def test_a_deleted_queue_is_reported_and_declared_anew(
    node: RabbitmqNode, running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    wait_until(lambda: is_consumed(node), RECOVERY_SECONDS)
    with caplog.at_level(logging.ERROR, "domain_event_broker"):
        node.management.delete("queues", "/", "outages")
        wait_until(lambda: "cancelled the consumer" in caplog.text, RECOVERY_SECONDS)
    wait_until(lambda: node.queue("/", "outages") is not None, RECOVERY_SECONDS)
    wait_until(lambda: len(node.bindings("/", "outages")) == 3, RECOVERY_SECONDS)
    events = publish(node, "outage.plain", 5)
    wait_until(lambda: running.has_handled(events), RECOVERY_SECONDS)


def test_an_event_in_its_handler_during_the_outage_comes_again(node: RabbitmqNode) -> None:
    runs: list[str] = []
    is_back = Event()

    def handle(event: DomainEvent) -> None:
        runs.append(event.uuid_string)
        is_back.wait(RECOVERY_SECONDS)

    subscriber = Subscriber(patient(node))
    subscriber.register(handle, "outages", ["outage.*"])
    node.restart()
    (event,) = publish(node, "outage.plain", 1)
    thread = Thread(target=subscriber.start_consuming)
    thread.start()
    wait_until(lambda: runs, RECOVERY_SECONDS)
    node.kill()
    node.start()
    is_back.set()
    wait_until(lambda: len(runs) == 2, RECOVERY_SECONDS)
    subscriber.stop_consuming()
    thread.join(RECOVERY_SECONDS)
    assert runs == [event.uuid_string] * 2
    assert node.message_count("/", "outages") == 0
