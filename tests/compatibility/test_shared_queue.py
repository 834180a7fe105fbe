"""With `"TOPOLOGY": "3.x"` we and a running 3.0.2 work on one queue."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest

from domain_event_broker import DomainEvent, Retry, Subscriber, publish_domain_event
from domain_event_broker.encoding import encode_body
from tests.compatibility.peers import Peer, Row
from tests.support.consuming import consuming
from tests.support.rabbitmq import RabbitmqNode
from tests.support.raw_amqp import raw_channel, ready_count, send
from tests.support.waiting import wait_until

NAME = "shared"
KEYS = ["user.*"]


@pytest.fixture
def legacy(broker_url: str) -> dict[str, Any]:
    """The settings of a service that shares its queues with 3.x."""
    return {"URL": broker_url, "TOPOLOGY": "3.x", "RECONNECT_DELAY": 0.1}


class Ours:
    """Our handler of the shared queue; an event says in its data what is to become of it."""

    def __init__(self, settings: dict[str, Any], dead_letter: bool = True) -> None:
        self.handled: list[DomainEvent] = []
        self.subscriber = Subscriber(settings)
        self.subscriber.register(self, NAME, KEYS, dead_letter=dead_letter, max_retries=3)

    def __call__(self, event: DomainEvent) -> None:
        self.handled.append(event)
        if event.data.get("ours") == "fails":
            raise ValueError("the event asked for this")
        if event.data.get("ours") == "retries" and event.retries == 0:
            raise Retry(5)  # longer than a drain waits for more

    def drain(self) -> None:
        self.subscriber.start_consuming(drain=True)

    def identities(self) -> list[str]:
        return [event.uuid_string for event in self.handled]


def theirs(dead_letter: bool = True) -> Row:
    return {"name": NAME, "binding_keys": KEYS, "dead_letter": dead_letter, "max_retries": 3}


@pytest.mark.parametrize("dead_letter", [True, False])
@pytest.mark.parametrize("we_are_first", [True, False])
def test_both_consume_whoever_was_first(
    legacy: dict[str, Any], peer: Peer, dead_letter: bool, we_are_first: bool
) -> None:
    # We stop first: 3.0.2 may lose its last acknowledgement when it stops, and we would get a copy.
    with ExitStack() as they, ExitStack() as we:
        if we_are_first:
            ours = Ours(legacy, dead_letter)
            we.enter_context(consuming(ours.subscriber))
        worker = they.enter_context(peer.worker(legacy["URL"], theirs(dead_letter)))
        if not we_are_first:
            ours = Ours(legacy, dead_letter)
            we.enter_context(consuming(ours.subscriber))
        wait_until(lambda: consumers(legacy["URL"]) == 2)
        published = [publish("user.left", legacy, {"n": n}) for n in range(20)]
        wait_until(lambda: len(ours.handled) + len(worker.received()) >= len(published))
    received = ours.identities() + [row["event"]["uuid_string"] for row in worker.received()]
    assert sorted(received) == sorted(event.uuid_string for event in published)


@pytest.mark.parametrize("dead_letter", [True, False])
def test_our_retry_comes_back_to_the_shared_queue(
    legacy: dict[str, Any], peer: Peer, dead_letter: bool
) -> None:
    with peer.worker(legacy["URL"], theirs(dead_letter)):
        pass  # they declared it all, and are gone
    ours = Ours(legacy, dead_letter)
    event = publish("user.left", legacy, {"ours": "retries"})
    with consuming(ours.subscriber):
        wait_until(lambda: len(ours.handled) == 2)
    assert ours.identities() == [event.uuid_string] * 2
    assert [handled.retries for handled in ours.handled] == [0, 1]


@pytest.mark.parametrize(("instruction", "runs"), [("succeeds", 1), ("retries", 2), ("fails", 1)])
def test_what_we_retried_may_come_back_to_them(
    legacy: dict[str, Any], peer: Peer, instruction: str, runs: int
) -> None:
    ours = Ours(legacy)
    event = publish("user.left", legacy, {"ours": "retries", "peer": instruction})
    ours.drain()
    with peer.worker(legacy["URL"], theirs()) as worker:
        rows = worker.wait_for(runs)
        if instruction == "fails":
            wait_until(lambda: ready_count(legacy["URL"], f"{NAME}-dl") == 1)
    assert [row["event"] for row in rows] == [event.event_data] * runs


def test_our_dead_letter_is_replayed_by_them(legacy: dict[str, Any], peer: Peer) -> None:
    ours = Ours(legacy)
    event = publish("user.left", legacy, {"ours": "fails"})
    ours.drain()
    replayed = peer.replay(legacy["URL"], NAME)
    assert replayed["left"] == 0
    (seen,) = replayed["seen"]
    assert seen["routing_key"] == "user.left"
    assert DomainEvent.from_json(seen["body"]) == event
    ours.drain()
    assert ours.handled == [event, event]
    assert ours.handled[1].retries == 0


def test_our_dead_letters_are_discarded_and_left_by_them(
    legacy: dict[str, Any], peer: Peer
) -> None:
    ours = Ours(legacy)
    for _ in range(2):
        publish("user.left", legacy, {"ours": "fails"})
    ours.drain()
    peer.replay(legacy["URL"], NAME, "leave")
    peer.replay(legacy["URL"], NAME, "discard")
    wait_until(lambda: ready_count(legacy["URL"], f"{NAME}-dl") == 1)
    assert ready_count(legacy["URL"], NAME) == 0


@pytest.mark.parametrize("key", ["user.left", "elsewhere"])
def test_our_dead_letter_needs_no_exchange_of_theirs(
    legacy: dict[str, Any],
    rabbitmq: RabbitmqNode,
    broker_vhost: str,
    peer: Peer,
    key: str,
) -> None:
    """Theirs are not durable, and are bound by the binding keys only."""
    ours = Ours(legacy)
    event = DomainEvent(key, {"ours": "fails"})
    send(legacy["URL"], "", NAME, encode_body(event))
    rabbitmq.management.delete("exchanges", broker_vhost, f"{NAME}-dlx")
    ours.drain()
    assert ready_count(legacy["URL"], f"{NAME}-dl") == 1
    assert peer.replay(legacy["URL"], NAME)["left"] == 0
    ours.drain()
    assert ours.handled == [event, event]


def publish(key: str, settings: dict[str, Any], data: dict[str, Any]) -> DomainEvent:
    return publish_domain_event(key, data, connection_settings=settings)


def consumers(url: str) -> int:
    with raw_channel(url) as channel:
        return int(channel.queue_declare(NAME, passive=True).method.consumer_count)
