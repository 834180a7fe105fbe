"""Several subscribers share the queues of the database transport; one is killed, or stopped."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from random import Random

import pytest

from tests.support.waiting import wait_until

from .project import PATIENCE_SECONDS, Shop, see_killed
from .runs import repeat

pytestmark = pytest.mark.fault(row=2)

POINTS = ("before the handler's commit", "before the ack", "before the settlement")
EVENTS = 50
#: Far less than the share of one of three.
MOST_DELIVERIES = 20
#: What is done is settled in groups.
MOST_SETTLEMENTS = 3


def test_one_killed_on_postgresql(postgresql_shop: Shop) -> None:
    repeat("three subscribers, postgresql", postgresql_shop, partial(kill_one, postgresql_shop))


def test_one_killed_on_sqlite(sqlite_shop: Shop) -> None:
    repeat("three subscribers, sqlite", sqlite_shop, partial(kill_one, sqlite_shop))


def test_one_stopped_past_its_lease(postgresql_shop: Shop) -> None:
    repeat("a subscriber stopped", postgresql_shop, partial(stop_one, postgresql_shop))


def kill_one(shop: Shop, random: Random) -> None:
    """Kill one of three, with a batch in its hands."""
    point = random.choice(POINTS)
    most = MOST_SETTLEMENTS if point == "before the settlement" else MOST_DELIVERIES
    nth = random.randint(1, most)
    with shop.subscriber(), shop.subscriber():
        dying = shop.begin_dying(point, nth, "run_subscriber")
        dying.wait_for("Ready:")
        place_until(shop, lambda: not dying.is_running)
        see_killed(dying)
        shop.settle()


def stop_one(shop: Shop, random: Random) -> None:
    """Stop one of two, until the other has handled all that was in its hands."""
    nth = random.randint(1, MOST_DELIVERIES)
    with shop.subscriber():
        stale = shop.begin_stopping("before the ack", nth, "run_subscriber", "-v", "2")
        place_until(shop, lambda: stale.is_stopped)
        wait_until(lambda: not shop.broker.waiting(), PATIENCE_SECONDS, shop.story)
        stale.signal(signal.SIGCONT)
        stale.wait_for("settled after their leases had ended")
        shop.do("place_backlog", str(EVENTS))
        shop.settle()
        stale.stop()


def place_until(shop: Shop, is_over: Callable[[], bool]) -> None:
    """Place orders, so many at a time, until then."""
    while not is_over():
        shop.do("place_backlog", str(EVENTS), "--key", "order.three")
