"""One publishing connection for all of a process, whatever becomes of it."""

from __future__ import annotations

from threading import Event, Thread
from typing import Any

import pytest

from domain_event_broker import (
    DomainEvent,
    Outcome,
    Publisher,
    Subscriber,
    publish_domain_event,
    publish_domain_events,
)
from domain_event_broker.transports import close_all
from tests.amqp.support import PATIENCE_SECONDS
from tests.support.consuming import consuming
from tests.support.rabbitmq import RabbitmqNode
from tests.support.raw_amqp import bind_queue, ready_count, take_all
from tests.support.waiting import wait_until


@pytest.fixture
def url(broker_url: str) -> str:
    """A broker with a queue, `seen`, that gets every event."""
    bind_queue(broker_url, "seen", "#")
    return broker_url


def connection_names(rabbitmq: RabbitmqNode, vhost: str) -> list[str]:
    """The connections of our publishers; what the test itself opens is another's."""
    rows = rabbitmq.connections(vhost)
    return [row["name"] for row in rows if "publisher" in row.get("user_provided_name", "")]


def channels_of(connection: str, rabbitmq: RabbitmqNode, vhost: str) -> list[dict[str, Any]]:
    rows = rabbitmq.management.get("vhosts", vhost, "channels")
    return [row for row in rows if row["connection_details"]["name"] == connection]


def test_any_number_of_publishes_shares_one_connection(
    url: str, rabbitmq: RabbitmqNode, broker_vhost: str
) -> None:
    publish_domain_event("user.left", {}, connection_settings=url)
    (first,) = wait_until(lambda: connection_names(rabbitmq, broker_vhost))

    def publish(thread: int) -> None:
        for number in range(25):
            event = {"n": 100 * thread + number}
            publish_domain_event("user.left", event, connection_settings=url)
            Publisher(url).publish(b"{}", "user.left")
        publish_domain_events([DomainEvent("user.left")] * 50, url)

    threads = [Thread(target=publish, args=[n]) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert ready_count(url, "seen") == 1 + 8 * 100
    assert connection_names(rabbitmq, broker_vhost) == [first]
    # Statistics come a moment later.
    wait_until(lambda: len(channels_of(first, rabbitmq, broker_vhost)) == 1, PATIENCE_SECONDS)


def test_each_thread_publishes_in_its_order(url: str) -> None:
    def publish(thread: int) -> None:
        for number in range(50):
            data = {"thread": thread, "n": number}
            publish_domain_event("user.left", data, connection_settings=url)

    threads = [Thread(target=publish, args=[n]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    stored = [DomainEvent.from_json(message.body).data for message in take_all(url, "seen")]
    for thread_number in range(4):
        numbers = [data["n"] for data in stored if data["thread"] == thread_number]
        assert numbers == list(range(50))


@pytest.mark.parametrize("is_noticed", [True, False])
def test_a_publish_after_the_idle_connection_was_closed_succeeds(
    url: str, rabbitmq: RabbitmqNode, broker_vhost: str, is_noticed: bool
) -> None:
    publish_domain_event("user.left", {"n": 0}, connection_settings=url)
    (first,) = wait_until(lambda: connection_names(rabbitmq, broker_vhost))
    rabbitmq.close_connections(broker_vhost)
    if is_noticed:
        wait_until(lambda: not connection_names(rabbitmq, broker_vhost))
    publish_domain_event("user.left", {"n": 1}, connection_settings=url)
    publish_domain_event("user.left", {"n": 2}, connection_settings=url)
    wait_until(lambda: first not in connection_names(rabbitmq, broker_vhost))
    wait_until(lambda: len(connection_names(rabbitmq, broker_vhost)) == 1)
    stored = [DomainEvent.from_json(message.body).data["n"] for message in take_all(url, "seen")]
    assert list(dict.fromkeys(stored)) == [0, 1, 2]


def test_publishing_goes_on_while_its_connection_is_closed_again_and_again(
    url: str, rabbitmq: RabbitmqNode, broker_vhost: str
) -> None:
    outcomes: list[Outcome] = []
    published: list[str] = []
    is_over = Event()

    def publish() -> None:
        patient = {"URL": url, "PUBLISH_TIMEOUT": PATIENCE_SECONDS}
        while not is_over.is_set():
            events = [DomainEvent("user.left", {"n": n}) for n in range(100)]
            outcomes.extend(result.outcome for result in publish_domain_events(events, patient))
            published.extend(event.uuid_string for event in events)

    thread = Thread(target=publish)
    thread.start()
    for _ in range(5):
        wait_until(lambda: rabbitmq.close_connections(broker_vhost), PATIENCE_SECONDS)
    is_over.set()
    thread.join()
    assert outcomes == [Outcome.CONFIRMED] * len(published)
    stored = {DomainEvent.from_json(message.body).uuid_string for message in take_all(url, "seen")}
    assert stored == set(published)


def test_an_exchange_deleted_meanwhile_is_declared_again(
    url: str, rabbitmq: RabbitmqNode, broker_vhost: str
) -> None:
    publish_domain_event("user.left", {}, connection_settings=url)
    rabbitmq.management.delete("exchanges", broker_vhost, "domain-events")
    (result,) = publish_domain_events([DomainEvent("user.left")], url)
    assert result.outcome is Outcome.UNROUTABLE  # its bindings went with it
    (row,) = [r for r in rabbitmq.exchanges(broker_vhost) if r["name"] == "domain-events"]
    assert (row["type"], row["durable"]) == ("topic", True)
    bind_queue(url, "seen", "#")
    (result,) = publish_domain_events([DomainEvent("user.left")], url)
    assert result.outcome is Outcome.CONFIRMED


def test_closing_all_publishers_does_not_hinder_a_running_subscriber(url: str) -> None:
    def fail(event: DomainEvent) -> None:
        close_all()
        raise ValueError("cannot handle this")

    subscriber = Subscriber(url)
    subscriber.register(fail, "failing", ["user.*"])
    events = [DomainEvent("user.left") for _ in range(5)]
    publish_domain_events(events, url)
    kept: set[str] = set()

    def all_are_kept() -> bool:
        letters = take_all(url, "failing-dl")
        kept.update(DomainEvent.from_json(message.body).uuid_string for message in letters)
        return kept == {event.uuid_string for event in events}

    with consuming(subscriber):
        wait_until(all_are_kept, PATIENCE_SECONDS)
    assert ready_count(url, "failing") == 0
