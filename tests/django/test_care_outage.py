"""A PostgreSQL server that goes away under a running handler, and comes back."""

from __future__ import annotations

import signal
import subprocess

import environ
import pytest

from tests.conftest import PrivatePostgresql
from tests.support.postgresql import PostgresqlCluster
from tests.support.waiting import wait_until

from .project import TIMEOUT_SECONDS, Project

# In its transaction, when its database goes.
HANDLER = """
import time
from pathlib import Path

from domain_event_broker.django import domain_event_handler
from domain_event_broker.django.models import InboxEntry

folder = Path(__file__).resolve().parent


@domain_event_handler("order.placed", name="reserve")
def reserve(event):
    (folder / "started").touch()
    while not (folder / "go").exists():
        time.sleep(0.01)
    InboxEntry.objects.count()
    with (folder / "handled").open("a") as file:
        file.write(event.uuid_string + "\\n")
"""
PUBLISH = """
from django.core.management import BaseCommand

from domain_event_broker import publish_domain_event


class Command(BaseCommand):
    def handle(self, **options):
        publish_domain_event("order.placed", {}, uuid_string="an id")
"""


@pytest.fixture
def cluster(private_postgresql: PrivatePostgresql) -> PostgresqlCluster:
    return private_postgresql()


@pytest.fixture
def orders(project: Project, cluster: PostgresqlCluster) -> Project:
    """Its handler's database is PostgreSQL; its queues are in another, where an event waits."""
    project.add_database("other")
    project.set_database("default", environ.Env.db_url_config(cluster.new_database()))
    project.set(DOMAIN_EVENT_BROKER="database://other")
    project.write("orders/domain_events.py", HANDLER)
    project.write("orders/management/commands/publish.py", PUBLISH)
    for command in (["migrate"], ["run_subscriber", "--drain"], ["publish"]):
        finished = project.run(*command)
        assert finished.returncode == 0, finished.stderr
    return project


def exists(orders: Project, name: str) -> bool:
    return (orders.folder / "orders" / name).exists()


def handled(orders: Project) -> list[str]:
    return (orders.folder / "orders/handled").read_text().splitlines()


def take_the_database_away(
    orders: Project, cluster: PostgresqlCluster, process: subprocess.Popen[str]
) -> None:
    """Return when the handler has noticed."""
    wait_until(lambda: exists(orders, "started"), 30, "the handler was not called")
    cluster.stop()
    (orders.folder / "orders/go").touch()
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("Event 'an id' is held: "):
            return
    pytest.fail("the event was not held")


def test_the_event_is_held_and_then_handled(orders: Project, cluster: PostgresqlCluster) -> None:
    with orders.start("run_subscriber", "--verbosity", "2") as process:
        take_the_database_away(orders, cluster, process)
        cluster.start()
        wait_until(lambda: exists(orders, "handled"), 30, "the event was not handled")
        process.send_signal(signal.SIGTERM)
        stdout, _ = process.communicate(timeout=TIMEOUT_SECONDS)

    assert process.returncode == 0
    assert "event an id ('order.placed') was handled.\n" in stdout
    assert "dead-lettered" not in stdout
    assert handled(orders) == ["an id"]


def test_stopping_meanwhile_gives_it_back(orders: Project, cluster: PostgresqlCluster) -> None:
    with orders.start("run_subscriber") as process:
        take_the_database_away(orders, cluster, process)
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
    cluster.start()
    again = orders.run("run_subscriber", "--drain")

    assert process.returncode == 0, stderr
    assert "event an id ('order.placed') goes back: it could not be handled now.\n" in stdout
    assert (again.returncode, again.stderr) == (0, "")
    assert handled(orders) == ["an id"]
