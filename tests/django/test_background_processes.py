"""The background publisher at the end of a process, and on both sides of a fork."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .project import Project

HANDLERS = """
from pathlib import Path

from domain_event_broker.django import domain_event_handler


@domain_event_handler("order.*", name="reserve", using="other")
def reserve(event):
    with (Path(__file__).resolve().parent / "handled").open("a") as file:
        file.write(event.uuid_string + "\\n")
"""
COMMAND = """
import json
import os
import warnings

from django.core.management import BaseCommand
from django.db import connections, transaction

from domain_event_broker import publish_domain_event
from domain_event_broker.django import background
from domain_event_broker.django.models import OutboxEvent


def publish(name):
    with transaction.atomic():
        publish_domain_event("order.placed", {}, uuid_string=name)


class Command(BaseCommand):
    def handle(self, **options):
"""
EXIT = f"""{COMMAND}
        publish("a")
        publish("b")
        # It ends at once.
"""
FORKS = 20
FORK = f"""{COMMAND}
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads
        self.stdout.write(json.dumps([self.fork(number) for number in range({FORKS})]))

    def fork(self, number):
        publish(f"before {{number}}")
        parents = str(background.token)
        connections.close_all()  # a connection is no two processes'
        child = os.fork()  # while the background publisher sends
        if child == 0:
            assert background.publisher._thread is None
            assert str(background.token) != parents
            name = f"by child {{number}}"
            publish(name)
            token = OutboxEvent.objects.filter(event_id=name).values_list("lease_token")
            assert set(token) <= {{(str(background.token),)}}
            # As a forked worker ends: what is registered to be done at exit is done.
            background.publisher.close()
            connections.close_all()
            os._exit(7)
        publish(f"by the parent {{number}}")
        _, status = os.waitpid(child, 0)
        assert str(background.token) == parents
        return os.waitstatus_to_exitcode(status)
"""


@pytest.fixture
def orders(project: Project) -> Project:
    """Its outbox is in one database, its queues are in another, and its handler has run once."""
    project.add_database("other")
    project.set(DOMAIN_EVENT_BROKER="database://other")
    project.write("orders/domain_events.py", HANDLERS)
    drain(project)
    return project


def drain(project: Project) -> None:
    finished = project.run("run_subscriber", "--drain")
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""


def handled(project: Project) -> list[str]:
    file: Path = project.folder / "orders/handled"
    return file.read_text().splitlines() if file.exists() else []


def test_what_a_short_process_published_is_sent_before_it_ends(orders: Project) -> None:
    orders.write("orders/management/commands/publish.py", EXIT)
    finished = orders.run("publish")

    assert (finished.returncode, finished.stderr) == (0, "")
    assert orders.rows("SELECT event_id FROM domain_event_broker_outboxevent") == []
    drain(orders)
    assert handled(orders) == ["a", "b"]


@pytest.mark.fault(row=11)
def test_forked_children_publish_with_a_thread_and_a_token_of_their_own(orders: Project) -> None:
    orders.write("orders/management/commands/publish.py", FORK)
    finished = orders.run("publish")

    assert (finished.returncode, finished.stderr) == (0, "")
    assert json.loads(finished.stdout) == [7] * FORKS
    assert orders.rows("SELECT event_id FROM domain_event_broker_outboxevent") == []
    drain(orders)
    names = ("before", "by child", "by the parent")
    expected = [f"{name} {number}" for name in names for number in range(FORKS)]
    assert sorted(handled(orders)) == sorted(expected)
