"""Processes on gevent publish, and their greenlets are killed while they do.

Patched by `gevent.monkey.patch_all` first of all, as gunicorn's gevent workers are, the threads of
this package are greenlets, too. Unpatched they are threads, and who publishes holds up all
greenlets until it is confirmed.
"""

from __future__ import annotations

from functools import partial
from random import Random

import pytest

from . import greenlet_orders, greenlet_publisher
from .confirmed import see_confirmed_stored
from .project import Shop
from .runs import SEEDS, repeat, with_each_seed

pytestmark = pytest.mark.fault(row=11)


@pytest.mark.parametrize("patching", ["patched", "unpatched"])
def test_what_was_confirmed_is_stored(broker_url: str, patching: str) -> None:
    def run(random: Random) -> None:
        seed = str(random.randrange(SEEDS))
        module = greenlet_publisher.__name__
        confirmed = see_confirmed_stored(broker_url, module, patching, broker_url, seed)
        print(f"greenlets killed, {patching}: confirmed {confirmed}")

    with_each_seed("greenlets killed", run)


def test_orders_with_an_outbox(rabbitmq_shop: Shop) -> None:
    repeat("greenlets with orders killed", rabbitmq_shop, partial(place_orders, rabbitmq_shop))


def place_orders(shop: Shop, random: Random) -> None:
    process = shop.begin_module(greenlet_orders.__name__, str(random.randrange(SEEDS)))
    assert process.wait() == 0, process.output
    shop.settle()
