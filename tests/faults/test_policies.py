"""Policies are set on queues that are in use: nothing is dropped that is not recorded."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pika.exceptions import ChannelClosedByBroker

from tests.support.rabbitmq import RabbitmqNode
from tests.support.raw_amqp import raw_channel
from tests.support.waiting import wait_until

from .figures import figures_of
from .project import PATIENCE_SECONDS, Shop, see_killed

pytestmark = pytest.mark.fault(row=14)

QUEUE = "reserve"
BACKLOG = 30
MAX_LENGTH = 5
DELIVERY_LIMIT = 2
EXPIRES_MS = 300
AWAY_SECONDS = 4

SetPolicy = Callable[..., None]


@pytest.fixture
def set_policy(rabbitmq: RabbitmqNode, broker_vhost: str) -> SetPolicy:
    """Set one on a queue, and see that it is in force; without keys, take it away."""

    def is_in_force(queue: str, definition: dict[str, object]) -> bool:
        row = rabbitmq.queue(broker_vhost, queue)
        return row is not None and (row.get("effective_policy_definition") or {}) == definition

    def set_one(queue: str, **keys: object) -> None:
        definition = {key.replace("_", "-"): value for key, value in keys.items()}
        path = "policies", broker_vhost, f"of {queue}"
        if definition:
            body = {"pattern": f"^{queue}$", "definition": definition, "apply-to": "queues"}
            rabbitmq.management.put(*path, body=body)
        else:
            rabbitmq.management.delete(*path)
        wait_until(lambda: is_in_force(queue, definition), PATIENCE_SECONDS)

    return set_one


def test_a_full_queue_that_refuses(rabbitmq_shop: Shop, set_policy: SetPolicy) -> None:
    """What it refuses stays in the outbox, and is sent once there is room."""
    shop = rabbitmq_shop
    set_policy(QUEUE, max_length=MAX_LENGTH, overflow="reject-publish")
    # The first ones may go beyond the limit, before it is noticed.
    shop.do("place_backlog", str(BACKLOG), "--key", "order.two")
    shop.do("relay_outbox", "--once")
    shop.do("place_backlog", str(BACKLOG), "--key", "order.two")
    left = shop.outbox_count()
    assert left, shop.story()
    with shop.subscriber():
        wait_until(lambda: not shop.outbox_count(), PATIENCE_SECONDS, shop.story)
    set_policy(QUEUE)
    shop.settle()
    shop.see_exactly_once()
    print(f"full queue: refused {left}, {figures_of(shop)}")


def test_retries_to_a_full_queue(rabbitmq_shop: Shop, set_policy: SetPolicy) -> None:
    """They come back all the same, once there is room."""
    shop = rabbitmq_shop
    shop.set(RETRIES=1)
    shop.do("prepare")
    shop.do("place_backlog", str(BACKLOG), "--key", "order.three", "--until-sent")
    set_policy(QUEUE, max_length=MAX_LENGTH, overflow="reject-publish")
    with shop.subscriber():
        wait_until(lambda: not shop.verdict().lost, PATIENCE_SECONDS, shop.story)
    set_policy(QUEUE)
    shop.settle()
    shop.see_exactly_once()
    print(f"retries to a full queue: {figures_of(shop)}")


def test_a_low_delivery_limit(rabbitmq_shop: Shop, set_policy: SetPolicy) -> None:
    """The broker dead-letters what was delivered so often, to where our dead letters are."""
    shop = rabbitmq_shop
    set_policy(QUEUE, delivery_limit=DELIVERY_LIMIT)
    shop.do("place_backlog", "1", "--until-sent")
    (effect,) = shop.verdict().lost
    shop.set(POISONS=[effect])
    for _ in range(DELIVERY_LIMIT + 1):
        see_killed(shop.begin("run_subscriber"))
    with shop.subscriber():
        wait_until(shop.dead_letters, PATIENCE_SECONDS, shop.story)
    (letter,) = shop.dead_letters()
    assert (letter.effect, letter.state) == (effect, "waiting")

    shop.set(POISONS=[])
    shop.do("replay_dead_letters")
    shop.settle()
    shop.see_exactly_once()
    print(f"delivery limit: reason {letter.reason!r}, {figures_of(shop)}")


def test_another_dead_letter_exchange(rabbitmq_shop: Shop, set_policy: SetPolicy) -> None:
    """What the queues were declared with counts for more."""
    shop = rabbitmq_shop
    set_policy(QUEUE, dead_letter_exchange="elsewhere", delivery_limit=DELIVERY_LIMIT)
    set_policy(f"{QUEUE}-dl", dead_letter_exchange="elsewhere")
    shop.do("make_dead_letters", "place_backlog", str(BACKLOG), "--until-sent")
    assert shop.broker.dead_letters() == BACKLOG
    shop.do("place_backlog", str(BACKLOG), "--until-sent")
    shop.do("replay_dead_letters")
    shop.settle()
    shop.see_exactly_once()
    print(f"another dead letter exchange: {figures_of(shop)}")


def test_an_expiry(
    rabbitmq_shop: Shop,
    rabbitmq: RabbitmqNode,
    broker_url: str,
    broker_vhost: str,
    set_policy: SetPolicy,
) -> None:
    """A queue in use does not expire; one that did while its subscriber was away is told of."""
    shop = rabbitmq_shop
    shop.set_broker(RECONNECT_DELAY=AWAY_SECONDS, MAX_RECONNECT_DELAY=AWAY_SECONDS)
    with shop.subscriber() as subscriber:
        set_policy(QUEUE, expires=EXPIRES_MS)
        shop.do("place_backlog", str(BACKLOG), "--until-sent")
        wait_until(lambda: not shop.verdict().lost, PATIENCE_SECONDS, shop.story)
        assert "deleted" not in subscriber.output

        wait_until(lambda: rabbitmq.connections(broker_vhost), PATIENCE_SECONDS)
        rabbitmq.close_connections(broker_vhost)
        subscriber.wait_for(f"{QUEUE}: the queue was deleted, and the events")
        # The next one may expire, too, before it is consumed.
        set_policy(QUEUE)
        wait_until(lambda: is_consumed(broker_url, QUEUE), PATIENCE_SECONDS, shop.story)
        shop.do("place_backlog", str(BACKLOG), "--until-sent")
        wait_until(lambda: not shop.verdict().lost, PATIENCE_SECONDS, shop.story)
    shop.settle()
    shop.see_exactly_once()
    print(f"expiry: {figures_of(shop)}")


def is_consumed(url: str, queue: str) -> bool:
    try:
        with raw_channel(url) as channel:
            return bool(channel.queue_declare(queue, passive=True).method.consumer_count)
    except ChannelClosedByBroker:  # there is no queue
        return False
