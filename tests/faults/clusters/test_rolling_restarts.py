"""The nodes are restarted one after the other, all the time, under a steady load.

`SOAK_SECONDS` says for how long.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
from random import Random

import pytest

from tests.support.cluster import RabbitmqCluster
from tests.support.waiting import wait_until

from ..figures import figures_of
from ..kills import make_backlog
from ..leaks import holdings_of
from ..ledgers import Ledgers
from ..project import PATIENCE_SECONDS, Process, Shop
from ..runs import with_each_seed
from ..series import Series
from ..steady import Load

pytestmark = pytest.mark.fault(row=24)

DEFAULT_RUNS = 1
SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", 120))
#: Events a second, for one handler, and how many in a transaction.
RATE, BATCH = 500, 10
#: Between the end of a restart and the next one.
PAUSE_PART = 0.04
SAMPLE_SECONDS = 0.5
MAX_GROWTH_MIB = 20.0
#: Of threads and of descriptors: one more may just be there while a connection is renewed.
MAX_GROWTH = 1


def test_each_node_is_restarted_under_load(cluster: RabbitmqCluster, cluster_shop: Shop) -> None:
    # A fsync for each of so many events would be the load; no machine fails here.
    cluster_shop.set(LEDGERS=Ledgers(cluster_shop.folder, is_synced=False))

    def roll(random: Random) -> None:
        keys = ("--keys", "order.one", "--batch", str(BATCH))
        with cluster_shop.subscriber() as one, cluster_shop.subscriber() as other:
            have_relayed(cluster_shop, one, frozen=other)
            have_relayed(cluster_shop, other, frozen=one)
            load = Load(cluster_shop, RATE, *keys)
            series = [
                Series("publisher", load.process.pid),
                Series("a subscriber", one.pid),
                Series("another subscriber", other.pid),
            ]
            restarts = roll_all(cluster, series, random)
            figures = load.stop()
            wait_for_all(cluster_shop)
        cluster_shop.settle()
        cluster_shop.see_exactly_once()
        told = "; ".join(each.told() for each in series)
        print(f"rolling restarts: {restarts}; {figures_of(cluster_shop)}; {figures}; {told}")
        for each in series:
            growth = each.growth()
            assert growth.memory_mib <= MAX_GROWTH_MIB, told
            assert growth.threads <= MAX_GROWTH, told
            assert growth.descriptors <= MAX_GROWTH, told

    with_each_seed("rolling restarts", roll, DEFAULT_RUNS)


def have_relayed(shop: Shop, relaying: Process, frozen: Process) -> None:
    """Have a subscriber send what a publisher left behind, while the other one cannot.

    For that it opens a connection, with a thread, which it keeps; under load it might do so late.
    """
    before = holdings_of(relaying.pid)
    frozen.freeze()
    make_backlog(shop, BATCH)
    wait_until(lambda: not shop.outbox_count(), PATIENCE_SECONDS, shop.story)
    frozen.signal(signal.SIGCONT)
    assert holdings_of(relaying.pid).exceed(before)


def roll_all(cluster: RabbitmqCluster, series: list[Series], random: Random) -> int:
    """Restart nodes until the time is over, each at least twice; return how often.

    The first round is to warm up: what the processes hold is looked at from then on.
    """
    over_at = time.monotonic() + SOAK_SECONDS
    nodes = random.sample(cluster.nodes, len(cluster.nodes))
    for restarts, node in enumerate(itertools.cycle(nodes)):
        if restarts >= 2 * len(nodes) and time.monotonic() > over_at:
            return restarts
        watched = series if restarts >= len(nodes) else []
        # As is documented: until no queue needs this node.
        node.run_tool("rabbitmq-upgrade", "await_online_quorum_plus_one")
        node.stop()
        node.begin_to_start()
        while not node.answers_or_died():
            watch(time.monotonic() + SAMPLE_SECONDS, watched)
        node.wait_until_started()
        cluster.wait_until_whole()
        watch(time.monotonic() + PAUSE_PART * SOAK_SECONDS, watched)
    raise AssertionError("There are no nodes.")


def watch(until: float, series: list[Series]) -> None:
    """Take samples until then."""

    def is_over() -> bool:
        for each in series:
            each.sample()
        return time.monotonic() >= until

    wait_until(is_over, SOAK_SECONDS + PATIENCE_SECONDS, interval_seconds=SAMPLE_SECONDS)


def wait_for_all(shop: Shop) -> None:
    """Wait until each order has had its effect; by counting, for there may be a million."""
    query = (
        "SELECT (SELECT COUNT(*) FROM orders_order) - (SELECT COUNT(*) FROM orders_effect), "
        "(SELECT COUNT(*) FROM domain_event_broker_outboxevent)"
    )
    wait_until(
        lambda: shop.database.rows(query)[0] == (0, 0),
        # Handling may be slower than publishing, on a small machine.
        10 * SOAK_SECONDS + PATIENCE_SECONDS,
        shop.story,
        interval_seconds=1.0,
    )
