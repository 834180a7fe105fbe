"""The node with a queue's leader is killed or frozen: another leads, and nothing is lost."""

from __future__ import annotations

import time
from random import Random

import pytest

from tests.support.waiting import wait_until

from ..runs import with_each_seed
from .busy import Bounds
from .conftest import MakeBusy

DEFAULT_RUNS = 1
#: PUBLISH_TIMEOUT and RECONNECT_DELAY.
KILLED = Bounds(publishing_seconds=6.0, handling_seconds=6.0)
#: The others notice after `NET_TICK_SECONDS` and a quarter of it, a consumer after HEARTBEAT and
#: five seconds; then as above.
FROZEN = Bounds(publishing_seconds=20.0, handling_seconds=24.0)
#: Longer than the others wait for it.
MIN_FROZEN_SECONDS = 20.0


@pytest.mark.fault(row=4)
def test_the_leader_is_killed(make_busy: MakeBusy) -> None:
    def kill(random: Random) -> None:
        with make_busy() as busy:
            leader = busy.traffic.leader()
            orders, since = busy.orders(), time.monotonic()
            leader.kill()
            busy.shop.servers_killed += 1
            busy.see_going_on(4, "leader killed", since, orders, KILLED)
            leader.start()
            busy.see_nothing_lost("leader killed")

    with_each_seed("leader killed", kill, DEFAULT_RUNS)


@pytest.mark.fault(row=5)
def test_the_leader_is_frozen(make_busy: MakeBusy) -> None:
    def freeze(random: Random) -> None:
        with make_busy() as busy:
            leader = busy.traffic.leader()
            orders, since = busy.orders(), time.monotonic()
            with leader.frozen():
                busy.see_going_on(5, "leader frozen", since, orders, FROZEN)
                over_at = since + MIN_FROZEN_SECONDS
                wait_until(lambda: time.monotonic() > over_at, MIN_FROZEN_SECONDS)
            busy.cluster.heal_after_freezing(leader)
            busy.see_nothing_lost("leader frozen")

    with_each_seed("leader frozen", freeze, DEFAULT_RUNS)
