"""``run_subscriber`` on the project's own database, from the publish to the replay."""

from __future__ import annotations

import pytest
from django.db import transaction
from pytest_django import Settings

from domain_event_broker import DomainEvent, Retry, publish_domain_event
from domain_event_broker.django import domain_event_handler
from domain_event_broker.django.models import InboxEntry, QueuedMessage
from domain_event_broker.handling import Ending
from example_project.shop.models import Customer
from tests.django.command_runs import Failing, Handled, drain, replay
from tests.django.listener import Listener
from tests.django.marks import both_databases
from tests.django.runs import Run
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.usefixtures("handlers"), both_databases]


@pytest.fixture(autouse=True)
def broker(settings: Settings) -> str:
    settings.DOMAIN_EVENT_BROKER = {"URL": "database://", "SERVICE": "shop"}
    return "database://"


def test_what_is_committed_is_handled_in_order() -> None:
    bill = Handled("order.*", name="bill")
    drain()
    with transaction.atomic():
        events = [publish_domain_event("order.placed", {"number": number}) for number in range(50)]
    drain()

    assert bill.events == events
    assert not QueuedMessage.objects.exists()
    assert InboxEntry.objects.count() == 50


def test_it_waits_for_a_handler_that_is_down() -> None:
    bill = Handled("order.*", name="bill")
    drain()
    event = publish_domain_event("order.placed", {})
    assert bill.events == []
    with Run() as run:
        wait_until(lambda: run.endings == [Ending.HANDLED])

    assert bill.events == [event]


def test_a_handler_s_work_and_what_it_publishes_are_one_transaction(listener: Listener) -> None:
    def greet(event: DomainEvent) -> None:
        number = event.retries
        Customer.objects.create(name="Ada", email=f"{number}@example.com")
        publish_domain_event("greeting.sent", {"number": number})
        if number < 2:
            raise Retry(0)

    domain_event_handler("user.*", name="greet", max_retries=2)(greet)
    drain()
    publish_domain_event("user.registered", {}, uuid_string="an id")
    drain()

    assert Customer.objects.get().email == "2@example.com"
    assert listener.routing_keys == ["user.registered", "greeting.sent"]
    assert listener.events[1].data == {"number": 2}
    assert listener.messages[1].correlation_id == "an id"
    assert InboxEntry.objects.get().event_id == "an id"


def test_a_copy_does_nothing() -> None:
    bill = Handled("order.*", name="bill")
    drain()
    for _ in range(3):
        publish_domain_event("order.placed", {}, uuid_string="an id")
    drain()

    assert len(bill.events) == 1
    assert not QueuedMessage.objects.exists()


def test_what_failed_is_kept_and_replayed() -> None:
    failing = Failing("bill")
    drain()
    events = [publish_domain_event("order.placed", {"number": number}) for number in range(3)]
    output = drain()
    assert output.stderr.count("was dead-lettered (error): ValueError: not yet") == 3
    failing.fails = False
    assert replay("bill") == "3 replayed, 0 left\n"
    drain()

    assert failing.handled == events
    assert replay() == "There are no dead letters.\n"


def test_handlers_of_one_event_are_each_other_s_business_no_more() -> None:
    failing, bill = Failing("failing"), Handled("order.*", name="bill")
    drain()
    publish_domain_event("order.placed", {})
    drain()

    assert len(bill.events) == 1
    assert failing.handled == []
