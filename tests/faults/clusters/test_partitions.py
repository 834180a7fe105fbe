"""A node is cut off from the others, with clients on it: they move, and nothing is lost."""

from __future__ import annotations

import time
from random import Random

import pytest

from ..runs import with_each_seed
from .busy import Bounds
from .conftest import MakeBusy

pytestmark = pytest.mark.fault(row=6)

DEFAULT_RUNS = 1
#: PUBLISH_TIMEOUT and RECONNECT_DELAY. From 4.3 on a node that is cut off goes on, and a consumer
#: there notices when its queue is bound again, which is done twice a minute and refused after half
#: a minute; before, the node itself closes all connections.
CUT_OFF = Bounds(publishing_seconds=6.0, handling_seconds=80.0)


@pytest.mark.parametrize("purpose", ["publisher", "subscriber"])
def test_the_node_of_a_client_is_cut_off(make_busy: MakeBusy, purpose: str) -> None:
    what = f"node of the {purpose} cut off"

    def cut_off(random: Random) -> None:
        with make_busy() as busy:
            node = busy.traffic.node_of(purpose)
            orders, since = busy.orders(), time.monotonic()
            with busy.cluster.cut_off(node):
                busy.see_going_on(6, what, since, orders, CUT_OFF)
            busy.cluster.wait_until_whole()
            busy.see_nothing_lost(what)

    with_each_seed(what, cut_off, DEFAULT_RUNS)
