"""From a transaction to the handlers over RabbitMQ, with each command a process of its own."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.db import transaction
from pytest_django import Settings

from domain_event_broker import DomainEvent, Subscriber, publish_domain_event
from domain_event_broker.django import background
from tests.support.waiting import wait_until

from .conftest import PASSWORD
from .marks import both_databases
from .project import TIMEOUT_SECONDS, Project

pytestmark = both_databases

HANDLERS = """
import json
import time
from pathlib import Path

from domain_event_broker import Retry
from domain_event_broker.django import domain_event_handler

folder = Path(__file__).resolve().parent


@domain_event_handler("order.*", name="reserve", max_retries=1)
def reserve(event):
    with (folder / "attempts").open("a") as file:
        file.write(json.dumps([event.uuid_string, event.data["number"], event.retries]) + "\\n")
    while (folder / "wait").exists():
        time.sleep(0.01)
    if (folder / "fail").exists():
        raise Retry(0.1)
    with (folder / "handled").open("a") as file:
        file.write(json.dumps([event.uuid_string, event.data["number"]]) + "\\n")
"""


class Orders:
    """What the project's handler did, and what it is to do."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def attempts(self) -> list[list[object]]:
        """Event id, number and retries of each call."""
        return self._lines("attempts")

    @property
    def handled(self) -> list[list[object]]:
        """Event id and number of each call that ended well."""
        return self._lines("handled")

    def order(self, what: str, *, on: bool) -> None:
        file = self._folder / what
        if on:
            file.touch()
        else:
            file.unlink()

    def _lines(self, name: str) -> list[list[object]]:
        file = self._folder / name
        if not file.exists():
            return []
        return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture
def orders(project: Project, broker_url: str, settings: Settings) -> Orders:
    """The project with its queue declared, on the broker that this process publishes to."""
    project.write("orders/domain_events.py", HANDLERS)
    project.set(DOMAIN_EVENT_BROKER=broker_url)
    settings.DOMAIN_EVENT_BROKER = broker_url
    finished = project.run("run_subscriber", "--drain")
    assert finished.returncode == 0, finished.stderr
    return Orders(project.folder / "orders")


def publish(number: int) -> DomainEvent:
    """Publish an order, and wait until the broker has it."""
    event = publish_domain_event("order.placed", {"number": number})
    assert background.publisher.flush(30)
    return event


def described(event: DomainEvent) -> list[object]:
    return [event.uuid_string, event.data["number"]]


def test_committed_events_are_handled_in_order(project: Project, orders: Orders) -> None:
    with project.start("run_subscriber") as process:
        with transaction.atomic():
            events = [publish_domain_event("order.placed", {"number": n}) for n in range(3)]
        with transaction.atomic():
            publish_domain_event("order.placed", {"number": 99})
            transaction.set_rollback(True)
        events.append(publish_domain_event("order.placed", {"number": 3}))
        wait_until(lambda: len(orders.handled) == 4, 30, lambda: f"{orders.attempts}")
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=TIMEOUT_SECONDS)

    assert orders.handled == [described(event) for event in events]
    assert (process.returncode, stderr) == (0, "")
    assert stdout.startswith("Ready: running 1 handler on amqp://")
    assert "@" not in stdout


def test_a_running_handler_finishes_and_its_event_does_not_come_back(
    project: Project, orders: Orders
) -> None:
    orders.order("wait", on=True)
    first, second = publish(1), publish(2)
    with project.start("run_subscriber") as process:
        wait_until(lambda: orders.attempts, 30, "the handler was not called")
        process.send_signal(signal.SIGTERM)
        orders.order("wait", on=False)
        _, stderr = process.communicate(timeout=TIMEOUT_SECONDS)

    assert (process.returncode, stderr) == (0, "")
    assert orders.handled == [described(first)]
    assert project.run("run_subscriber", "--drain").returncode == 0
    assert orders.attempts == [[*described(first), 0], [*described(second), 0]]


def test_what_failed_is_replayed(project: Project, orders: Orders) -> None:
    orders.order("fail", on=True)
    event = publish(1)
    failing = project.run("run_subscriber", "--max-events", "2")
    orders.order("fail", on=False)
    replayed = project.run("replay_dead_letters")
    assert project.run("run_subscriber", "--drain").returncode == 0

    assert failing.returncode == 0
    assert f"event {event.uuid_string} ('order.placed') comes back in 0.1 s" in failing.stdout
    (line,) = failing.stderr.splitlines()
    assert "was dead-lettered (retries-exhausted)" in line
    assert replayed.stdout == "1 replayed, 0 left\n"
    assert orders.attempts == [[*described(event), retries] for retries in (0, 1, 0)]
    assert orders.handled == [described(event)]
    assert project.run("replay_dead_letters", "reserve").stdout == "There are no dead letters.\n"


@pytest.mark.parametrize("command", ["run_subscriber", "replay_dead_letters"])
def test_a_broker_that_refuses_ends_with_one_sentence(
    project: Project, orders: Orders, broker_url: str, command: str
) -> None:
    parts = urlsplit(broker_url)
    address = f"{parts.hostname}:{parts.port}{parts.path}"
    project.set(DOMAIN_EVENT_BROKER=f"amqp://nobody:{PASSWORD}@{address}")

    finished = project.run(command)

    assert finished.returncode == 1
    assert finished.stdout == ""
    (line,) = finished.stderr.splitlines()
    assert line.startswith("CommandError: amqp://")
    assert "refused the user name or password" in line
    assert PASSWORD not in line


def test_a_queue_of_another_kind_ends_with_one_sentence(
    project: Project, orders: Orders, broker_url: str
) -> None:
    project.set(DOMAIN_EVENT_BROKER={"URL": broker_url, "QUEUE_TYPE": "classic"})

    finished = project.run("run_subscriber")

    assert finished.returncode == 1
    (line,) = finished.stderr.splitlines()
    assert line.startswith("CommandError: ")
    assert "x-queue-type" in line


def test_a_handler_that_never_ran_has_no_dead_letters(project: Project, broker_url: str) -> None:
    project.set(DOMAIN_EVENT_BROKER=broker_url)

    assert project.run("replay_dead_letters").stdout == "There are no dead letters.\n"


def test_a_handler_runs_beside_the_core_s_subscriber(orders: Orders, project: Project) -> None:
    """Both have a queue of their own, so both get each event."""
    received: list[DomainEvent] = []
    subscriber = Subscriber()
    subscriber.register(received.append, "audit", ["#"])
    event = publish(1)
    subscriber.start_consuming(drain=True)
    project.run("run_subscriber", "--drain")

    assert received == [event]
    assert orders.handled == [described(event)]
