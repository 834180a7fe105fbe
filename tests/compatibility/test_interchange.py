"""Events travel between us and a running 3.0.2, in both directions."""

from __future__ import annotations

import json
from typing import Any

from domain_event_broker import DomainEvent, Subscriber, publish_domain_event
from tests.compatibility.peers import Peer, Row
from tests.support.consuming import consuming
from tests.support.rabbitmq import RabbitmqNode
from tests.support.raw_amqp import bind_queue, take_all
from tests.support.waiting import wait_until

KEYS = ["routing_key", "data", "domain_object_id", "uuid_string", "timestamp"]

# What both sides publish, as the arguments of `publish_domain_event`.
EVENTS: list[Row] = [
    {"routing_key": "user.registered", "data": {"user_id": 1}},
    {"routing_key": "user.registered", "data": {}, "domain_object_id": None},
    {"routing_key": "user.renamed", "data": {"n": 1}, "domain_object_id": "42"},
    {"routing_key": "user.renamed", "data": {"n": 2}, "domain_object_id": 42},
    {"routing_key": "user.renamed", "data": {"name": 'Zoë, Жук 例え 🐝 \\ " \n\t\u0000'}},
    {"routing_key": "user.grüßt.早", "data": {"ключ": "значение"}, "domain_object_id": "é/ß"},
    {"routing_key": "user.nested", "data": {"a": [1, 2.5, None, True, {"b": [[]]}], "c": ""}},
    {"routing_key": "user.numbers", "data": {"big": 2**70, "small": -1e-300, "zero": -0.0}},
    {"routing_key": "user.dated", "data": {}, "timestamp": 1795236128.076064},
    {"routing_key": "user.dated", "data": {}, "timestamp": 0.0},
    {"routing_key": "user.dated", "data": {}, "timestamp": 1795236128},
    {"routing_key": "user.named", "data": {}, "uuid_string": "not-a-uuid"},
]


def test_what_they_publish_reaches_our_handler(broker_url: str, peer: Peer) -> None:
    handled: list[DomainEvent] = []
    subscriber = Subscriber(broker_url)
    subscriber.register(handled.append, "ours", ["user.#"])
    published = peer.publish(broker_url, *EVENTS)
    subscriber.start_consuming(drain=True)
    assert [event.event_data for event in handled] == published
    assert [event.event_data for event in handled] == expected(published)
    assert {event.retries for event in handled} == {0}


def test_what_we_publish_reaches_their_handler(broker_url: str, peer: Peer) -> None:
    with peer.worker(broker_url, {"name": "theirs", "binding_keys": ["user.#"]}) as worker:
        published = publish_all(broker_url)
        worker.wait_for(len(EVENTS))
    assert [row["event"] for row in worker.received()] == [e.event_data for e in published]
    assert [row["retries"] for row in worker.received()] == [0] * len(EVENTS)


def test_both_write_the_same_five_keys(broker_url: str, peer: Peer) -> None:
    bind_queue(broker_url, "seen", "user.#")
    identified = [{"uuid_string": "id", "timestamp": 1.5, **event} for event in EVENTS]
    for event in identified:
        publish_domain_event(**event, connection_settings=broker_url)
    ours = take_all(broker_url, "seen")
    peer.publish(broker_url, *identified)
    theirs = take_all(broker_url, "seen")
    assert [list(json.loads(m.body)) for m in ours] == [KEYS] * len(EVENTS)
    # They escape what is not ASCII; otherwise it is the same byte for byte.
    assert [json.dumps(json.loads(m.body)).encode() for m in ours] == [m.body for m in theirs]
    assert [m.routing_key for m in ours] == [m.routing_key for m in theirs]
    assert {m.properties.delivery_mode for m in ours + theirs} == {2}


def test_handlers_of_both_stand_beside_each_other(
    broker_url: str, broker_vhost: str, rabbitmq: RabbitmqNode, peer: Peer
) -> None:
    handled: list[DomainEvent] = []
    subscriber = Subscriber(broker_url)
    subscriber.register(handled.append, "ours", ["user.#"])
    with (
        peer.worker(
            broker_url, {"name": "theirs", "binding_keys": ["user.#"], "dead_letter": True}
        ) as worker,
        consuming(subscriber),
    ):
        published = [event.event_data for event in publish_all(broker_url)]
        published += peer.publish(broker_url, *EVENTS)
        worker.wait_for(len(published))
        wait_until(lambda: len(handled) == len(published))
    assert [event.event_data for event in handled] == published
    assert [row["event"] for row in worker.received()] == published
    for queue in ("ours", "theirs-dl"):
        assert rabbitmq.message_count(broker_vhost, queue) == 0


def test_a_failure_on_one_side_is_no_concern_of_the_other(broker_url: str, peer: Peer) -> None:
    def fail(event: DomainEvent) -> None:
        raise ValueError("ours alone")

    subscriber = Subscriber(broker_url)
    subscriber.register(fail, "ours", ["user.#"])
    theirs = {"name": "theirs", "binding_keys": ["user.#"], "dead_letter": True}
    with peer.worker(broker_url, theirs) as worker:
        publish_domain_event("user.left", {}, connection_settings=broker_url)
        subscriber.start_consuming(drain=True)
        worker.wait_for(1)
    assert len(take_all(broker_url, "ours-dl")) == 1
    assert take_all(broker_url, "theirs-dl") == []


def publish_all(url: str) -> list[DomainEvent]:
    return [publish_domain_event(**event, connection_settings=url) for event in EVENTS]


def expected(published: list[Row]) -> list[dict[str, Any]]:
    """What was asked to be published, with the parts that the publisher made up."""
    made_up = ({"uuid_string": p["uuid_string"], "timestamp": p["timestamp"]} for p in published)
    return [
        {"domain_object_id": None, **made, **event}
        for made, event in zip(made_up, EVENTS, strict=True)
    ]
