"""Consumers that die with what they hold: it comes again, and a poison costs itself alone."""

from __future__ import annotations

import signal

import pytest

from domain_event_broker.django.models import QueuedMessage
from domain_event_broker.transports.base import Outcome
from tests.conformance.harness import Desk, copy, message, receive, retry_in, subscription
from tests.django.marks import both_databases
from tests.django.project import Project
from tests.django.rows import ENDED
from tests.support.waiting import wait_until

from .conftest import MakeDesk

NEIGHBOURS = 6
CRASH_ATTEMPTS = 2

HANDLER = """
import os
import signal
from pathlib import Path

from domain_event_broker.django import domain_event_handler


@domain_event_handler("order.*", name="reserve")
def reserve(event):
    if event.routing_key == "order.poison":
        os.kill(os.getpid(), signal.SIGKILL)
    with (Path(__file__).resolve().parent / "handled").open("a") as file:
        file.write(event.uuid_string + "\\n")
"""
PUBLISH = f"""
from django.core.management import BaseCommand

from domain_event_broker import publish_domain_event


class Command(BaseCommand):
    def handle(self, **options):
        for number in range({NEIGHBOURS}):
            if number == {NEIGHBOURS} // 2:
                publish_domain_event("order.poison", {{}}, uuid_string="poison")
            publish_domain_event("order.placed", {{}}, uuid_string=f"event {{number}}")
"""


@both_databases
class TestLeases:
    @pytest.fixture
    def desk(self, make_desk: MakeDesk) -> Desk:
        """Its leases last for the whole test, unless they are ended."""
        return make_desk()

    def test_a_delivery_tells_of_the_crashes_before_it(self, desk: Desk) -> None:
        desk.consumer(subscription()).close()
        assert desk.publish(message()) == [Outcome.CONFIRMED]
        for count in range(4):
            assert receive(desk.consumer(subscription())).crashes == count
            end_leases()

    def test_the_late_holder_settles_nothing(self, desk: Desk) -> None:
        first, second = desk.consumer(subscription()), desk.consumer(subscription())
        desk.publish(message())
        late = receive(first)
        end_leases()
        current = receive(second)
        first.dead_letter(late, copy(late.message))
        assert first.flush(30)

        (row,) = QueuedMessage.objects.all()
        assert row.pk == current.token
        second.ack(current)
        assert second.flush(30)
        assert not QueuedMessage.objects.exists()

    def test_a_retry_begins_anew(self, desk: Desk) -> None:
        first, second = (desk.consumer(subscription(retries=True)) for _ in range(2))
        desk.publish(message())
        receive(first)
        end_leases()
        delivery = receive(second)
        assert delivery.crashes == 1
        retry_in(second, delivery, 0)

        assert receive(second).crashes == 0


def end_leases() -> None:
    """As if their holders had died a while ago."""
    QueuedMessage.objects.exclude(lease_token="").renew(ENDED)


def test_a_poison_is_dead_lettered_and_its_neighbours_are_handled(project: Project) -> None:
    project.set(
        DOMAIN_EVENT_BROKER={
            "URL": "database://",
            "LEASE": 0.5,
            "CRASH_ATTEMPTS": CRASH_ATTEMPTS,
        }
    )
    project.write("orders/domain_events.py", HANDLER)
    project.write("orders/management/commands/publish.py", PUBLISH)
    for command in (["run_subscriber", "--drain"], ["publish"]):
        assert project.run(*command).returncode == 0
    ends: list[int] = []

    def all_are_settled() -> bool:
        finished = project.run("run_subscriber", "--drain")
        ends.append(finished.returncode)
        return waiting(project, "reserve") == []

    wait_until(all_are_settled, 60)

    assert ends.count(-signal.SIGKILL) == CRASH_ATTEMPTS
    dead_letters = "SELECT event_id, reason FROM domain_event_broker_deadletter"
    assert project.rows(dead_letters) == [("poison", "crashed")]
    assert waiting(project, "reserve-dl") == []
    handled = (project.folder / "orders/handled").read_text().splitlines()
    assert sorted(handled) == [f"event {number}" for number in range(NEIGHBOURS)]


def waiting(project: Project, queue: str) -> list[str]:
    """The ids of all that is in a queue."""
    query = (
        "SELECT event_id FROM domain_event_broker_queuedmessage AS message "
        "JOIN domain_event_broker_queue AS queue ON queue.id = queue_id "
        f"WHERE name = '{queue}'"
    )
    return [event_id for (event_id,) in project.rows(query)]
