"""A queue, the exchange or bindings are deleted under load: noticed, told, and mended."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import pytest

from tests.support.rabbitmq import RabbitmqNode
from tests.support.raw_amqp import raw_channel
from tests.support.waiting import wait_until

from .figures import figures_of
from .plans import HANDLERS_OF
from .project import PATIENCE_SECONDS, Process, Shop
from .recovery import Fault, noted
from .site import CREATED, Site

pytestmark = pytest.mark.fault(row=13)

EXCHANGE = "domain-events"
QUEUE = "reserve"
#: It is bound for all events; those with this key go to it alone.
KEYS = [key for key, handlers in HANDLERS_OF.items() if QUEUE in handlers]
CLIENTS = 2
NOTICED_SECONDS = 2.0
#: What is not noticed is mended at the latest after half as long again.
BIND_SECONDS = 2.0


@pytest.fixture
def shop(rabbitmq_shop: Shop) -> Shop:
    """Which parks what reaches nobody, as a project that may lose nothing does."""
    rabbitmq_shop.set_broker(UNROUTABLE="raise")
    rabbitmq_shop.set(BIND_SECONDS=BIND_SECONDS)
    return rabbitmq_shop


@contextmanager
def busy(shop: Shop) -> Iterator[tuple[Process, Site]]:
    """A subscriber, and a site with clients that order all the time."""
    site = Site(shop)
    is_over = Event()
    with shop.subscriber() as subscriber, ThreadPoolExecutor(CLIENTS) as clients:
        orders = [clients.submit(site.order_until, is_over) for _ in range(CLIENTS)]
        try:
            wait_until(shop.effects, PATIENCE_SECONDS, shop.story)
            yield subscriber, site
        finally:
            is_over.set()
        assert {status for each in orders for status in each.result()} == {CREATED}


def test_a_queue_is_deleted(shop: Shop, rabbitmq: RabbitmqNode, broker_vhost: str) -> None:
    with busy(shop) as (subscriber, site):
        rabbitmq.management.delete("queues", broker_vhost, QUEUE)
        with noted(Fault(13, "queue deleted: told", NOTICED_SECONDS)):
            subscriber.wait_for(f"{QUEUE}: the queue was deleted, and the events")
        wait_until(lambda: is_bound(rabbitmq, broker_vhost), PATIENCE_SECONDS, shop.story)
        see_all_go_on(shop, site)
    see_what_was_lost(shop, {QUEUE})


def test_the_exchange_is_deleted(shop: Shop, rabbitmq: RabbitmqNode, broker_vhost: str) -> None:
    with busy(shop) as (subscriber, site):
        rabbitmq.management.delete("exchanges", broker_vhost, EXCHANGE)
        with noted(Fault(13, "exchange deleted: told by the subscriber", NOTICED_SECONDS)):
            subscriber.wait_for(f"The exchange '{EXCHANGE}' was deleted")
        site.process.wait_for(f"The exchange '{EXCHANGE}' was deleted")
        wait_until(lambda: is_bound(rabbitmq, broker_vhost), PATIENCE_SECONDS, shop.story)
        see_all_go_on(shop, site)
    see_what_was_lost(shop, set(HANDLERS_OF["order.three"]))


def test_all_bindings_of_a_queue_are_deleted(
    shop: Shop, broker_url: str, rabbitmq: RabbitmqNode, broker_vhost: str
) -> None:
    shop.set(BIND_SECONDS=10 * BIND_SECONDS)
    with busy(shop) as (_, site):
        with raw_channel(broker_url) as channel:
            for key in KEYS:
                channel.queue_unbind(QUEUE, EXCHANGE, key)
        with noted(Fault(13, "queue unbound: told by the publisher", NOTICED_SECONDS)):
            # By that key, it reaches nobody else.
            site.process.wait_for("No queue is bound for 'order.one'")
        wait_until(lambda: is_bound(rabbitmq, broker_vhost), PATIENCE_SECONDS, shop.story)
        see_all_go_on(shop, site)
    see_what_was_lost(shop, {QUEUE})


def is_bound(node: RabbitmqNode, vhost: str) -> bool:
    """Whether all queues are there, and bound for all of their keys."""
    bound = {
        (row["destination"], row["routing_key"])
        for row in node.bindings(vhost)
        if row["source"] == EXCHANGE
    }
    wanted = {(handler, key) for key, handlers in HANDLERS_OF.items() for handler in handlers}
    return wanted <= bound


def see_all_go_on(shop: Shop, site: Site) -> None:
    """See that an event of each kind that is committed from now on has its effects."""
    before = shop.committed().keys()
    for _ in HANDLERS_OF:
        assert site.order() == CREATED
    new = shop.committed().keys() - before
    wait_until(
        lambda: not any(event in new for _, event in shop.verdict().lost),
        PATIENCE_SECONDS,
        shop.story,
    )


def see_what_was_lost(shop: Shop, handlers: set[str]) -> None:
    """See that it is nothing but what was told, and that what was parked is sent at last."""
    shop.do("relay_outbox", "--once", "--unpark")
    verdict = shop.settle(is_loss_expected=True)
    assert verdict.wrong <= {"LOST"}, shop.story()
    assert {handler for handler, _ in verdict.lost} <= handlers, shop.story()
    # What reached nobody at all was told to its publisher, and is not lost.
    effects = {event for _, event in shop.effects()}
    print(
        f"lost to some handlers {len(verdict.lost)}, "
        f"lost altogether {len(shop.committed().keys() - effects)}, {figures_of(shop)}"
    )
