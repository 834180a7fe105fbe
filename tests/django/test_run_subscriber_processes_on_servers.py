"""``run_subscriber --processes`` on PostgreSQL and RabbitMQ: shared, replaced, ended."""

from __future__ import annotations

import os
import signal

import environ
import pytest

from .fleets import LEASE_SECONDS, Orders, fleet
from .project import Project


@pytest.fixture
def on_postgresql(unmigrated: Project, postgresql_url: str) -> Orders:
    """Its handler has an inbox, which holds a transaction open while it runs."""
    unmigrated.set_database("default", environ.Env.db_url_config(postgresql_url))
    unmigrated.set(DOMAIN_EVENT_BROKER={"URL": "database://", "LEASE": LEASE_SECONDS})
    assert unmigrated.run("migrate").returncode == 0
    return with_inbox(Orders(unmigrated))


@pytest.fixture
def on_rabbitmq(unmigrated: Project, postgresql_url: str, broker_url: str) -> Orders:
    unmigrated.set_database("default", environ.Env.db_url_config(postgresql_url))
    unmigrated.set(DOMAIN_EVENT_BROKER={"URL": broker_url, "LEASE": LEASE_SECONDS})
    assert unmigrated.run("migrate").returncode == 0
    return with_inbox(Orders(unmigrated))


def with_inbox(orders: Orders) -> Orders:
    file = orders.project.folder / "orders/domain_events.py"
    file.write_text(file.read_text().replace(", inbox=False", ""))
    return orders


def test_on_postgresql(on_postgresql: Orders) -> None:
    see_one_killed_and_all_handled(on_postgresql)


def test_on_rabbitmq(on_rabbitmq: Orders) -> None:
    see_one_killed_and_all_handled(on_rabbitmq)


def see_one_killed_and_all_handled(orders: Orders) -> None:
    """Each of two processes holds one; in the place of the one that is killed another takes it."""
    with fleet(orders) as two:
        pids = two.wait_until_ready()
        orders.hold()
        orders.place(1, 2)
        assert sorted(orders.wait_until_begun(1, 2)) == sorted(pids)
        os.kill(pids[1], signal.SIGKILL)
        two.wait_until_ready(3)
        orders.let_go()
        orders.place(3)
        orders.wait_for(3)
        assert two.end() == 0

    assert sorted(orders.handled) == [1, 2, 3]
    (line,) = two.stderr
    assert line.startswith(f"Process 2 (pid {pids[1]}) was killed by SIGKILL")
