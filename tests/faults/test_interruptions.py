"""Exceptions from a signal handler break publishes off: the next ones are told the truth.

As soft time limits do. What was confirmed is stored, and no lock is held for ever. Threads publish
meanwhile.
"""

from __future__ import annotations

from functools import partial
from random import Random

import pytest

from . import interrupted_publisher
from .confirmed import see_confirmed_stored
from .figures import figures_of
from .project import Shop
from .runs import SEEDS, repeat, with_each_seed

pytestmark = pytest.mark.fault(row=11)


@pytest.mark.parametrize("begins_anew", [0, 1], ids=["connected", "first"])
def test_at_each_point_of_a_publish(broker_url: str, begins_anew: int) -> None:
    confirmed = interrupt(broker_url, "at_each_point", begins_anew)
    print(f"interrupted at each point: confirmed {confirmed}")


def test_by_alarms_beside_threads_that_publish(broker_url: str) -> None:
    def run(random: Random) -> None:
        confirmed = interrupt(broker_url, "by_alarms", random.randrange(SEEDS))
        print(f"interrupted by alarms: confirmed {confirmed}")

    with_each_seed("interrupted by alarms", run)


@pytest.mark.parametrize("how", ["points", "alarms"])
def test_orders_with_an_outbox(rabbitmq_shop: Shop, how: str) -> None:
    repeat(f"orders interrupted, {how}", rabbitmq_shop, partial(place_orders, rabbitmq_shop, how))
    print(f"orders interrupted: {figures_of(rabbitmq_shop)}")


def place_orders(shop: Shop, how: str, random: Random) -> None:
    before = len(shop.committed())
    shop.do("place_interrupted", how, str(random.randrange(SEEDS)))
    assert len(shop.committed()) > before
    shop.settle()


def interrupt(url: str, scenario: str, number: int) -> int:
    """Run a process whose publishes are interrupted; return how many were confirmed."""
    module = interrupted_publisher.__name__
    return see_confirmed_stored(url, module, url, scenario, str(number))
