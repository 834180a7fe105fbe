"""``relay_outbox`` and ``prune_domain_events`` as processes of their own."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing

import pytest

from tests.support.waiting import wait_until

from .project import TIMEOUT_SECONDS, Project

# As a process that died after its commit left them.
LEAVE = """
from django.core.management import BaseCommand

from django.db import connections
from domain_event_broker.django.inserting import write_to_outbox
from domain_event_broker.django.models import InboxEntry
from domain_event_broker.django.dialects import FromNow
from domain_event_broker.messages import Message


class Command(BaseCommand):
    def handle(self, **options):
        message = Message("order.placed", b'{"routing_key": "order.placed"}', message_id="an id")
        write_to_outbox([message], "the dead", -1, connections["default"])
        InboxEntry.objects.get_or_create(handler="reserve", event_id="old")
        InboxEntry.objects.update(handled_at=FromNow(-60 * 24 * 3600))
"""
LEFT = "SELECT event_id FROM domain_event_broker_outboxevent"
NOTED = "SELECT event_id FROM domain_event_broker_inboxentry"


@pytest.fixture
def orders(project: Project) -> Project:
    """Its queues are in another database than its outbox, in which an event was left."""
    project.add_database("other")
    project.set(DOMAIN_EVENT_BROKER="database://other")
    project.write("orders/management/commands/leave.py", LEAVE)
    for command in (["run_subscriber", "--drain"], ["leave"]):
        finished = project.run(*command)
        assert (finished.returncode, finished.stderr) == (0, "")
    return project


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_relay_sends_until_it_is_told_to_stop(orders: Project, number: signal.Signals) -> None:
    with orders.start("relay_outbox") as process:
        wait_until(lambda: orders.rows(LEFT) == [], 30, "the event was not sent")
        assert orders.run("leave").returncode == 0
        wait_until(lambda: orders.rows(LEFT) == [], 30, "the next event was not sent")
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=TIMEOUT_SECONDS)

    assert (process.returncode, stderr) == (0, "")
    assert stdout == "Relaying to database://other.\n"


def test_the_relay_ends_by_itself_when_it_is_told_to(orders: Project) -> None:
    finished = orders.run("relay_outbox", "--once")

    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout == "1 sent, 0 left, 0 of them parked.\n"
    handled = orders.run("run_subscriber", "--drain", "--verbosity", "2")
    assert "('order.placed') was handled." in handled.stdout


def test_a_relay_without_tables_says_what_to_do(unmigrated: Project) -> None:
    unmigrated.set(DOMAIN_EVENT_BROKER="amqp://localhost")
    finished = unmigrated.run("relay_outbox")

    assert finished.returncode == 1
    assert finished.stdout == ""
    (line,) = finished.stderr.splitlines()
    assert line.startswith("CommandError: The database 'default' has no table ")
    assert "python manage.py migrate" in line


def test_pruning_ends_by_itself(orders: Project) -> None:
    finished = orders.run("prune_domain_events")

    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.startswith("default: 1 inbox entries, ")
    assert orders.rows(NOTED) == []


def test_pruning_may_be_ended_at_any_time_and_begun_again(orders: Project) -> None:
    with closing(sqlite3.connect(orders.database)) as another:
        another.execute("BEGIN IMMEDIATE")  # so that it has to wait
        with orders.start("prune_domain_events") as process:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=TIMEOUT_SECONDS)
        another.rollback()

    assert process.returncode == -signal.SIGTERM
    assert orders.rows(NOTED) == [("old",)]
    assert orders.run("prune_domain_events").returncode == 0
    assert orders.rows(NOTED) == []
