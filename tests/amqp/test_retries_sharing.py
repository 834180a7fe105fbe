"""Delay queues are shared by all handlers: nobody waits for another, nobody gets another's."""

from __future__ import annotations

from domain_event_broker import DomainEvent, Retry, Subscriber, publish_domain_event
from domain_event_broker.names import orphans
from tests.amqp.support import EXCHANGE, PATIENCE_SECONDS, Recorder, wait_until_empty
from tests.support.consuming import consuming
from tests.support.management import ManagementApi
from tests.support.rabbitmq import RabbitmqNode
from tests.support.raw_amqp import ready_count, take_all
from tests.support.waiting import wait_until

ORPHANS = orphans(EXCHANGE)
# More than a delay queue would forward without an answer.
MANY = 40
# Long enough to delete a queue meanwhile; most of it is spent in the delay queue of 3.2 s.
LONG_SECONDS = 3.3


def retry_once(event: DomainEvent) -> None:
    if not event.retries:
        raise Retry(event.data["delay"])


def come_back(event: DomainEvent) -> str:
    return f"{event.routing_key} again" if event.retries else event.routing_key


def test_a_shorter_delay_is_never_held_up_by_a_longer_one(broker_url: str) -> None:
    handler = Recorder(retry_once)
    subscriber = Subscriber(broker_url)
    subscriber.register(handler, "mixed", ["test.*"], max_retries=1)
    # 3 s and 2 s begin in the same delay queue and part later; 0.4 s has left it by then.
    delays = {"test.long": 3.0, "test.middle": 2.0, "test.short": 0.4, "test.none": 0}
    for key, delay in delays.items():
        publish_domain_event(key, {"delay": delay}, connection_settings=broker_url)
    with consuming(subscriber):
        handler.wait_for(8)
    again = [event.routing_key for event in handler.events if event.retries]
    assert again == ["test.none", "test.short", "test.middle", "test.long"]


def test_each_retry_returns_to_its_own_handler_only(broker_url: str) -> None:
    def retry_thrice(event: DomainEvent) -> None:
        if event.retries < 3:
            raise Retry(0.1)

    retrying = [Recorder(retry_thrice) for _ in range(3)]
    content = Recorder()
    subscriber = Subscriber(broker_url)
    for number, handler in enumerate(retrying):
        subscriber.register(handler, f"retrying-{number}", ["test.#"], max_retries=3)
    subscriber.register(content, "content", ["#"], max_retries=3)
    publish_domain_event("test.shared", {}, connection_settings=broker_url)
    with consuming(subscriber):
        for handler in retrying:
            handler.wait_for(4)
        content.wait_for(1)
    assert [handler.retries for handler in retrying] == [[0, 1, 2, 3]] * 3
    assert content.retries == [0]
    assert ready_count(broker_url, ORPHANS) == 0


def test_a_handler_whose_name_is_a_binding_key_elsewhere_gets_only_its_own(
    broker_url: str,
) -> None:
    """The way back goes by the queue's name, which here is another's binding key as well."""
    retrying, other = Recorder(retry_once), Recorder()
    subscriber = Subscriber(broker_url)
    subscriber.register(retrying, "test.name", ["test.name"], max_retries=1)
    subscriber.register(other, "other", ["test.name", "#"], max_retries=1)
    publish_domain_event("test.name", {"delay": 0.1}, connection_settings=broker_url)
    with consuming(subscriber):
        retrying.wait_for(2)
        other.wait_for(1)
    assert retrying.retries == [0, 1]
    assert other.retries == [0]


def test_retries_for_a_deleted_queue_delay_nobody_and_are_kept(
    broker_url: str, broker_vhost: str, rabbitmq: RabbitmqNode
) -> None:
    published = leave_retries_behind(broker_url, "gone")
    delete_queue(rabbitmq.management, broker_vhost, "gone")
    handler = Recorder(retry_once)
    subscriber = Subscriber(broker_url)
    subscriber.register(handler, "alive", ["live.*"], max_retries=1)
    publish_domain_event("live.event", {"delay": LONG_SECONDS}, connection_settings=broker_url)
    with consuming(subscriber):
        # It waits behind the forty in the same delay queue.
        handler.wait_for(2)
    assert handler.retries == [0, 1]
    wait_until(lambda: ready_count(broker_url, ORPHANS) >= MANY, PATIENCE_SECONDS)
    orphaned = take_all(broker_url, ORPHANS)
    assert sorted(raw.properties.message_id for raw in orphaned) == sorted(published)
    assert {raw.headers["deb-routing-key"] for raw in orphaned} == {"doomed.event"}


def leave_retries_behind(url: str, name: str) -> list[str]:
    """Have a handler put all its events off, then stop it; return their ids."""

    def put_off(event: DomainEvent) -> None:
        raise Retry(LONG_SECONDS)

    handler = Recorder(put_off)
    subscriber = Subscriber(url)
    subscriber.register(handler, name, ["doomed.*"], max_retries=1)
    published = [
        publish_domain_event("doomed.event", {}, connection_settings=url) for _ in range(MANY)
    ]
    subscriber.start_consuming(max_events=MANY)
    assert handler.retries == [0] * MANY
    return [event.uuid_string for event in published]


def delete_queue(management: ManagementApi, vhost: str, name: str) -> None:
    management.delete("queues", vhost, name)
    wait_until(lambda: management.get_or_none("queues", vhost, name) is None)


def test_retries_come_back_to_the_queue_whether_or_not_anybody_consumes(broker_url: str) -> None:
    published = leave_retries_behind(broker_url, "patient")
    handler = Recorder()
    subscriber = Subscriber(broker_url)
    subscriber.register(handler, "patient", ["doomed.*"], max_retries=1)
    with consuming(subscriber):
        handler.wait_for(MANY)
    assert sorted(event.uuid_string for event in handler.events) == sorted(published)
    assert handler.retries == [1] * MANY
    wait_until_empty(broker_url, "patient")
