"""RabbitMQ goes away while a site is busy: every request succeeds, and nothing is lost."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from tests.support.rabbitmq import RabbitmqNode
from tests.support.waiting import wait_until

from .brokers import Rabbitmq
from .conftest import MakeShop
from .databases import Postgresql
from .figures import figures_of
from .project import PATIENCE_SECONDS, Shop
from .site import CREATED, Site

pytestmark = pytest.mark.fault(row=3)

CLIENTS = 4
REQUESTS = 130
BACKLOG = 1200
#: Longer than the broker takes from when it answers to when that is noticed.
LONG_LEASE_SECONDS = 4.0
#: Each minute a process that publishes looks for what others left behind: that is not meant here.
LESS_THAN_A_MINUTE_SECONDS = 40.0


@pytest.fixture
def shop(make_shop: MakeShop, restartable_rabbitmq: RabbitmqNode, postgresql_url: str) -> Shop:
    """On a node that may be stopped and killed."""
    broker = Rabbitmq(restartable_rabbitmq.new_vhost())
    shop = make_shop(Postgresql(postgresql_url), broker)
    shop.do("prepare")
    restartable_rabbitmq.sync_new_queues()
    return shop


def test_requests_succeed_and_their_events_are_sent_later(
    shop: Shop, restartable_rabbitmq: RabbitmqNode
) -> None:
    """By the server itself: nothing else that would relay them runs before they are sent."""
    shop.set_broker(LEASE=LONG_LEASE_SECONDS)
    site = Site(shop)
    with ThreadPoolExecutor(CLIENTS) as clients:
        requests = [clients.submit(site.order) for _ in range(REQUESTS)]
        wait_until(shop.committed, PATIENCE_SECONDS, shop.story)
        restartable_rabbitmq.stop()
        requests += [clients.submit(site.order) for _ in range(REQUESTS)]
        statuses = [request.result() for request in requests]
        assert not restartable_rabbitmq.is_running
        # Some are committed in the last moment before it is back.
        is_back = Event()
        busy = [clients.submit(site.order_until, is_back) for _ in range(CLIENTS)]
        restartable_rabbitmq.start()
        is_back.set()
        statuses += [status for each in busy for status in each.result()]

    assert len(statuses) > 2 * REQUESTS
    assert set(statuses) == {CREATED}
    assert len(shop.committed()) == len(statuses)
    wait_until(lambda: not shop.outbox_count(), LESS_THAN_A_MINUTE_SECONDS, shop.story)
    shop.settle()
    shop.see_exactly_once()
    print(f"broker stopped: {figures_of(shop)}")


def test_a_broker_killed_in_the_middle_of_a_batch(
    shop: Shop, restartable_rabbitmq: RabbitmqNode
) -> None:
    shop.set_broker(LEASE=LONG_LEASE_SECONDS)
    backlog = ("place_backlog", str(BACKLOG), "--until-sent")
    with shop.subscriber():
        publisher = shop.begin_stopped("while being confirmed", BACKLOG // 2, *backlog)
        restartable_rabbitmq.kill()
        shop.servers_killed += 1
        assert 0 < shop.outbox_count() <= BACKLOG
        publisher.signal(signal.SIGCONT)
        restartable_rabbitmq.start()
        assert publisher.wait() == 0, publisher.output
    shop.settle()
    shop.see_exactly_once()
    assert len(shop.committed()) == BACKLOG
    print(f"broker killed: {figures_of(shop)}")
