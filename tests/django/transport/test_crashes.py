"""Consumers that die with what they hold: it comes again, and a poison costs itself alone."""

from __future__ import annotations

import signal

import pytest

from domain_event_broker.django.models import QueuedMessage
from domain_event_broker.django.transport.consumer import DatabaseConsumer
from domain_event_broker.transports.base import Delivery, Outcome
from tests.conformance.harness import Desk, copy, message, receive, retry_in, subscription
from tests.django.marks import both_databases
from tests.django.project import Project
from tests.django.rows import ENDED
from tests.support.waiting import wait_until

NEIGHBOURS = 6
CRASH_ATTEMPTS = 2

HANDLER = """
import os
import signal
from pathlib import Path

from domain_event_broker.django import domain_event_handler


@domain_event_handler("order.*", name="reserve", concurrency=CONCURRENCY, inbox=False)
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


@both_databases
class TestCaution:
    """What may have ended a process is handled with nothing else at hand, in however many threads.

    "a" and "b" are handlers of one consumer; what is named so is for them, in capitals a suspect.
    """

    @pytest.fixture
    def consumer(self, desk: Desk) -> DatabaseConsumer:
        consumer = desk.consumer(
            *(subscription(name, name, concurrency=4) for name in ("a", "b")), start=False
        )
        assert isinstance(consumer, DatabaseConsumer)
        return consumer

    def put(self, desk: Desk, *names: str) -> None:
        for name in names:
            desk.publish(message(name[0].lower(), message_id=name))
        suspects = [name for name in names if name[0].isupper()]
        QueuedMessage.objects.filter(event_id__in=suspects).update(crashes=1)

    def received(self, consumer: DatabaseConsumer) -> dict[str, Delivery]:
        """All that can be had at once, by name."""
        found = {}
        while delivery := consumer.receive(0):
            found[str(delivery.message.message_id)] = delivery
        return found

    def test_they_are_received_alone(self, desk: Desk, consumer: DatabaseConsumer) -> None:
        self.put(desk, "A1", "A2", "a3", "B1", "b2")
        consumer.start()
        found = []
        while received := self.received(consumer):
            found.append(sorted(received))
            for delivery in received.values():
                consumer.ack(delivery)

        assert sorted(found[:3]) == [["A1"], ["A2"], ["B1"]]
        assert sorted(name for names in found[3:] for name in names) == ["a3", "b2"]

    def test_they_wait_for_what_is_being_handled(
        self, desk: Desk, consumer: DatabaseConsumer
    ) -> None:
        """And so does all else, or that would never end."""
        self.put(desk, "a1")
        consumer.start()
        before = self.received(consumer)
        self.put(desk, "A2")
        assert self.received(consumer) == {}
        self.put(desk, "b1")
        assert self.received(consumer) == {}
        consumer.ack(before["a1"])
        assert sorted(self.received(consumer)) == ["A2"]
        assert self.received(consumer) == {}

    def test_they_do_not_wait_for_ever(self, desk: Desk, consumer: DatabaseConsumer) -> None:
        self.put(desk, "a1")
        consumer.start()
        self.received(consumer)
        self.put(desk, "A2")
        assert self.received(consumer) == {}
        consumer._caution._since -= consumer._settings.lease_seconds

        assert sorted(self.received(consumer)) == ["A2"]

    def test_nor_do_the_others(self, desk: Desk, consumer: DatabaseConsumer) -> None:
        self.put(desk, "A1", "a2")
        consumer.start()
        assert sorted(self.received(consumer)) == ["A1"]
        consumer._caution._claimed_at -= consumer._settings.lease_seconds

        assert sorted(self.received(consumer)) == ["a2"]

    def test_one_that_somebody_else_has_is_waited_for_no_more(
        self, desk: Desk, consumer: DatabaseConsumer
    ) -> None:
        self.put(desk, "a1")
        consumer.start()
        self.received(consumer)
        self.put(desk, "A2", "a3", "b1")
        self.received(consumer)
        QueuedMessage.objects.filter(event_id="A2").delete()
        wait_until(lambda: self.received(consumer).keys() & {"a3"}, 10)


def end_leases() -> None:
    """As if their holders had died a while ago."""
    QueuedMessage.objects.exclude(lease_token="").renew(ENDED)


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_poison_is_dead_lettered_and_its_neighbours_are_handled(
    project: Project, concurrency: int
) -> None:
    project.set(
        DOMAIN_EVENT_BROKER={
            "URL": "database://",
            "LEASE": 0.5,
            "CRASH_ATTEMPTS": CRASH_ATTEMPTS,
        }
    )
    project.write("orders/domain_events.py", HANDLER.replace("CONCURRENCY", str(concurrency)))
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
    # Without an inbox, what ran beside the first crash may have run twice.
    assert sorted(set(handled)) == [f"event {number}" for number in range(NEIGHBOURS)]


def waiting(project: Project, queue: str) -> list[str]:
    """The ids of all that is in a queue."""
    query = (
        "SELECT event_id FROM domain_event_broker_queuedmessage AS message "
        "JOIN domain_event_broker_queue AS queue ON queue.id = queue_id "
        f"WHERE name = '{queue}'"
    )
    return [event_id for (event_id,) in project.rows(query)]
