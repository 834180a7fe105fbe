"""Two of three nodes die: nothing can be sent, and nothing is lost, nor does anybody wait."""

from __future__ import annotations

import time
from random import Random

import pytest

from tests.support.waiting import wait_until

from .. import recovery
from ..project import PATIENCE_SECONDS
from ..runs import with_each_seed
from .busy import Bounds
from .conftest import MakeBusy

pytestmark = pytest.mark.fault(row=7)

DEFAULT_RUNS = 1
#: So many events must be placed, and wait, while there is no majority.
PLACED = 50
#: From when the nodes are there: they agree on leaders, and connections are opened again.
BACK = Bounds(publishing_seconds=6.0, handling_seconds=6.0)


def test_orders_are_placed_and_wait_for_a_majority(make_busy: MakeBusy) -> None:
    def kill_two(random: Random) -> None:
        with make_busy() as busy:
            killed = random.sample(busy.cluster.nodes, 2)
            for node in killed:
                node.kill()
            busy.shop.servers_killed += 2
            before = busy.orders()
            wait_until(lambda: busy.orders() >= before + PLACED, PATIENCE_SECONDS, busy.story)
            assert busy.shop.outbox_count() >= PLACED
            busy.cluster.start()
            orders, since = busy.orders(), time.monotonic()
            busy.see_going_on(7, "two of three back", since, orders, BACK)
            with recovery.noted(DRAINED):
                wait_until(lambda: not busy.shop.outbox_count(), PATIENCE_SECONDS, busy.story)
            busy.see_nothing_lost("two of three killed")

    with_each_seed("two of three killed", kill_two, DEFAULT_RUNS)


DRAINED = recovery.Fault(7, "two of three back: outbox drained", 30)
