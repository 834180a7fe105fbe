"""Several relays on one outbox: one is stopped past its lease, or killed, and nothing is lost."""

from __future__ import annotations

import signal
from collections import Counter
from functools import partial
from random import Random

import pytest

from domain_event_broker.django.relaying import BATCH
from tests.support.raw_amqp import bind_queue, take_all
from tests.support.waiting import wait_until

from .kills import make_backlog
from .oracle import Copies
from .project import PATIENCE_SECONDS, Shop
from .runs import repeat

pytestmark = pytest.mark.fault(row=22)

BACKLOG = 4 * BATCH
SMALL_BACKLOG = 100
RELAYS = 4
EVERYTHING = "everything"


def test_one_that_was_stopped_past_its_lease_changes_nothing(
    rabbitmq_shop: Shop, broker_url: str
) -> None:
    shop = rabbitmq_shop
    shop.set_broker(PUBLISH_TIMEOUT=PATIENCE_SECONDS)
    bind_queue(broker_url, EVERYTHING, "order.#")
    make_backlog(shop, BACKLOG)
    stale = shop.begin_stopped("while sending", BATCH // 2, "relay_outbox")
    relays = [stale, *(shop.begin("relay_outbox") for _ in range(RELAYS - 1))]
    wait_until(lambda: not shop.outbox_count(), PATIENCE_SECONDS, shop.story)

    make_backlog(shop, 2 * BATCH)
    stale.signal(signal.SIGCONT)
    stale.wait_for("events were confirmed after their leases had ended")
    wait_until(lambda: not shop.outbox_count(), PATIENCE_SECONDS, shop.story)
    for relay in relays:
        relay.stop()

    seen = count_sent(broker_url)
    copies = Copies.on(shop.committed(), seen)
    assert (copies.lost, copies.spurious) == (0, 0)
    assert 0 < copies.duplicates <= BATCH
    assert sum(seen.values()) == BACKLOG + 2 * BATCH + copies.duplicates
    print(f"relay stopped: committed {len(shop.committed())}, {copies}")


def test_those_that_are_killed_cost_no_more_than_copies(
    rabbitmq_shop: Shop, broker_url: str
) -> None:
    bind_queue(broker_url, EVERYTHING, "order.#")
    repeat("relays killed", rabbitmq_shop, partial(kill_relays, rabbitmq_shop, broker_url))


def kill_relays(shop: Shop, broker_url: str, random: Random) -> None:
    """Kill one in the middle of a batch, the next with all of it sent; a third one finishes."""
    before = shop.committed().keys()
    make_backlog(shop, SMALL_BACKLOG)
    confirmed = random.randint(1, SMALL_BACKLOG)
    shop.do_killed("while being confirmed", confirmed, "relay_outbox")
    shop.do_killed("before the rows are deleted", 1, "relay_outbox")
    if random.random() < 0.5:
        shop.do("relay_outbox", "--once")
        assert not shop.outbox_count()
    shop.settle()

    copies = Copies.on(shop.committed().keys() - before, count_sent(broker_url))
    assert (copies.lost, copies.spurious) == (0, 0)
    assert 0 < copies.duplicates <= 2 * SMALL_BACKLOG


def count_sent(broker_url: str) -> Counter[str]:
    """How often each event was sent since this was asked last."""
    return Counter(str(each.properties.message_id) for each in take_all(broker_url, EVERYTHING))
