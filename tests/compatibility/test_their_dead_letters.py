"""What 3.0.2 dead-lettered in a shared queue, seen and replayed by us."""

from __future__ import annotations

from typing import Any

import pytest

from domain_event_broker import (
    LEAVE,
    RETRY,
    DomainEvent,
    Subscriber,
    publish_domain_event,
    replay_all,
    replay_event,
)
from tests.compatibility.peers import Peer
from tests.support.raw_amqp import ready_count, take_all
from tests.support.waiting import wait_until

NAME = "shared"
KEYS = ["user.*"]


@pytest.fixture
def legacy(broker_url: str) -> dict[str, Any]:
    return {"URL": broker_url, "TOPOLOGY": "3.x"}


@pytest.fixture
def failed(legacy: dict[str, Any], peer: Peer) -> list[DomainEvent]:
    """Three events whose handling failed at a 3.0.2 worker."""
    arguments = {"name": NAME, "binding_keys": KEYS, "dead_letter": True}
    with peer.worker(legacy["URL"], arguments) as worker:
        events = [
            publish_domain_event("user.left", {"peer": "fails", "n": n}, connection_settings=legacy)
            for n in range(3)
        ]
        worker.wait_for(3)
        wait_until(lambda: ready_count(legacy["URL"], f"{NAME}-dl") == 3)
    return events


def test_they_are_read(failed: list[DomainEvent], legacy: dict[str, Any]) -> None:
    seen: list[tuple[str, Any, DomainEvent]] = []

    def look(frame: Any, header: Any, body: bytes) -> str:
        deaths = header.headers["x-death"]
        seen.append((frame.routing_key, deaths[0]["reason"], DomainEvent.from_json(body)))
        return LEAVE

    assert replay_all(NAME, look, legacy) == 3
    assert sorted(event.data["n"] for _, _, event in seen) == [0, 1, 2]
    assert {(key, reason) for key, reason, _ in seen} == {("user.left", "rejected")}


def test_they_are_replayed_by_us_to_us(failed: list[DomainEvent], legacy: dict[str, Any]) -> None:
    handled: list[DomainEvent] = []
    subscriber = Subscriber(legacy)
    subscriber.register(handled.append, NAME, KEYS, dead_letter=True)
    assert replay_event(NAME, connection_settings=legacy) == 2
    assert replay_all(NAME, connection_settings=legacy) == 0
    subscriber.start_consuming(drain=True)
    assert handled == failed
    assert {event.retries for event in handled} == {0}


def test_they_are_replayed_by_us_to_them(
    failed: list[DomainEvent], legacy: dict[str, Any], peer: Peer
) -> None:
    def only_the_second(body: bytes, **kwargs: Any) -> str:
        return RETRY if DomainEvent.from_json(body).data["n"] == 1 else LEAVE

    assert replay_all(NAME, only_the_second, legacy) == 2
    arguments = {"name": NAME, "binding_keys": KEYS, "dead_letter": True}
    with peer.worker(legacy["URL"], arguments) as worker:
        (row,) = worker.wait_for(1)
        # It fails there again, and is kept, though it came to the queue by the queue's own name.
        wait_until(lambda: ready_count(legacy["URL"], f"{NAME}-dl") == 3)
    assert (row["event"], row["retries"]) == (failed[1].event_data, 0)
    letters = [
        DomainEvent.from_json(m.body).data["n"] for m in take_all(legacy["URL"], f"{NAME}-dl")
    ]
    assert sorted(letters) == [0, 1, 2]
