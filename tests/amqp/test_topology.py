"""What is declared: every queue, exchange and binding, as the management API tells of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from domain_event_broker import Subscriber
from tests.amqp.support import PATIENCE_SECONDS
from tests.support.rabbitmq import RabbitmqNode
from tests.support.waiting import wait_until

T = TypeVar("T")

TIERS_MS = [100 * 2**step for step in range(25)]
REQUEUE = "domain-events-requeue"
ORPHANS = "domain-events-orphans"
DELAY = "domain-events-delay.v1"
QUORUM = {"x-queue-type": "quorum"}

Arguments = dict[str, Any]


def ignore(event: object) -> None:
    pass


def queues(node: RabbitmqNode, vhost: str) -> dict[str, Arguments]:
    """The arguments of each queue, by name; all are durable, for all."""
    for row in node.queues(vhost):
        assert (row["durable"], row["auto_delete"], row["exclusive"]) == (True, False, False)
    return {row["name"]: row["arguments"] for row in node.queues(vhost)}


def exchanges(node: RabbitmqNode, vhost: str) -> dict[str, tuple[str, Arguments]]:
    """Type and arguments of each exchange that is not the broker's own."""
    own = [r for r in node.exchanges(vhost) if r["name"] and not r["name"].startswith("amq.")]
    assert all(row["durable"] and not row["auto_delete"] for row in own)
    return {row["name"]: (row["type"], row["arguments"]) for row in own}


def bindings(node: RabbitmqNode, vhost: str) -> set[tuple[str, str, str, str]]:
    """Exchange, queue, key and arguments of each binding that somebody made."""
    return {
        (row["source"], row["destination"], row["routing_key"], json.dumps(row["arguments"]))
        for row in node.bindings(vhost)
        if row["source"]
    }


def wait_for(look: Callable[[], T], expected: T) -> None:
    """With Khepri, what others are told of follows a declaration by a moment."""
    wait_until(lambda: look() == expected, PATIENCE_SECONDS, lambda: f"{look()} != {expected}")


def handler_queue(name: str) -> Arguments:
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": 1_000,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": f"{name}-dl",
    }


def delay_queue(tier_ms: int) -> Arguments:
    return {
        "x-queue-type": "quorum",
        "x-message-ttl": tier_ms,
        "x-dead-letter-exchange": REQUEUE,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


LOOKED_AT = {**QUORUM, "x-delivery-limit": 1_000_000_000}
DELAY_QUEUES = {f"{DELAY}.{tier_ms}ms": delay_queue(tier_ms) for tier_ms in TIERS_MS}
EXCHANGES = {
    "domain-events": ("topic", {}),
    REQUEUE: ("direct", {"alternate-exchange": ORPHANS}),
    ORPHANS: ("fanout", {}),
    DELAY: ("headers", {}),
}
BINDINGS = {
    ("domain-events", "handler", "user.*", "{}"),
    ("domain-events", "handler", "order.#", "{}"),
    (REQUEUE, "handler", "handler", "{}"),
    (ORPHANS, ORPHANS, "", "{}"),
}
DELAY_BINDINGS = {
    (DELAY, f"{DELAY}.{t}ms", "", json.dumps({"deb-tier": str(t), "x-match": "all"}))
    for t in TIERS_MS
}


def register(url: str, **options: Any) -> None:
    subscriber = Subscriber(url)
    subscriber.register(ignore, "handler", ["user.*", "order.#"], **options)
    subscriber.disconnect()


def test_everything_that_a_retrying_handler_needs(
    broker_url: str, broker_vhost: str, rabbitmq: RabbitmqNode
) -> None:
    register(broker_url, max_retries=3)
    expected = {
        "handler": handler_queue("handler"),
        "handler-dl": LOOKED_AT,
        ORPHANS: LOOKED_AT,
        **DELAY_QUEUES,
    }
    wait_for(lambda: queues(rabbitmq, broker_vhost), expected)
    wait_for(lambda: exchanges(rabbitmq, broker_vhost), EXCHANGES)
    wait_for(lambda: bindings(rabbitmq, broker_vhost), BINDINGS | DELAY_BINDINGS)


def test_a_handler_that_does_not_retry_needs_no_delay_queues(
    broker_url: str, broker_vhost: str, rabbitmq: RabbitmqNode
) -> None:
    register(broker_url)
    wait_for(lambda: bindings(rabbitmq, broker_vhost), BINDINGS)
    wait_for(lambda: set(queues(rabbitmq, broker_vhost)), {"handler", "handler-dl", ORPHANS})
    assert DELAY not in exchanges(rabbitmq, broker_vhost)


def test_declaring_again_changes_nothing(
    broker_url: str, broker_vhost: str, rabbitmq: RabbitmqNode
) -> None:
    def everything() -> tuple[Any, Any, Any]:
        return (
            queues(rabbitmq, broker_vhost),
            exchanges(rabbitmq, broker_vhost),
            bindings(rabbitmq, broker_vhost),
        )

    register(broker_url, max_retries=3)
    wait_for(lambda: bindings(rabbitmq, broker_vhost), BINDINGS | DELAY_BINDINGS)
    before = everything()
    for _ in range(2):
        register(broker_url, max_retries=3)
        register(broker_url, max_retries=0)
    assert everything() == before


@pytest.mark.parametrize("first", [True, False])
def test_a_handler_may_change_its_mind_about_dead_letters(
    broker_url: str, broker_vhost: str, rabbitmq: RabbitmqNode, first: bool
) -> None:
    register(broker_url, dead_letter=first)
    wait_for(lambda: "handler-dl" in queues(rabbitmq, broker_vhost), first)
    register(broker_url, dead_letter=not first)
    register(broker_url, dead_letter=first)
    expected = {
        "handler": handler_queue("handler"),
        "handler-dl": LOOKED_AT,
        ORPHANS: LOOKED_AT,
    }
    wait_for(lambda: queues(rabbitmq, broker_vhost), expected)


@pytest.mark.parametrize("kind", ["exclusive", "auto_delete"])
def test_a_fleeting_subscription_has_a_classic_queue_and_no_dead_letters(
    broker_url: str, broker_vhost: str, rabbitmq: RabbitmqNode, kind: str
) -> None:
    options: dict[str, Any] = {kind: True}
    subscriber = Subscriber(broker_url)
    subscriber.register(ignore, "fleeting", ["#"], **options)
    row = rabbitmq.declared_queue(broker_vhost, "fleeting")
    assert row["arguments"] == {"x-queue-type": "classic"}
    assert row["type"] == "classic"
    assert {name for name in ("exclusive", "auto_delete") if row[name]} == {kind}
    assert rabbitmq.queue(broker_vhost, "fleeting-dl") is None
    if kind == "auto_delete":
        subscriber.start_consuming(drain=True)  # such a queue goes with its last consumer
    subscriber.disconnect()
    wait_until(lambda: rabbitmq.queue(broker_vhost, "fleeting") is None, PATIENCE_SECONDS)


def test_a_fleeting_subscription_has_dead_letters_if_asked(
    broker_url: str, broker_vhost: str, rabbitmq: RabbitmqNode
) -> None:
    subscriber = Subscriber(broker_url)
    subscriber.register(ignore, "fleeting", ["#"], exclusive=True, dead_letter=True)
    row = rabbitmq.declared_queue(broker_vhost, "fleeting-dl")
    assert row["arguments"] == LOOKED_AT
    subscriber.disconnect()
