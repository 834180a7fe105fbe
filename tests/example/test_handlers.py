"""The handlers: each alone with an event, then all of them behind a broker."""

from __future__ import annotations

import pytest
from django.core import mail
from django.core.management import call_command
from django.test import Client
from pytest_django.fixtures import Settings

from domain_event_broker import DomainEvent, Retry
from domain_event_broker.django.testing import handle_events
from domain_event_broker.handling import Reason
from example_project.demo.evidence import dead_letters
from example_project.reporting.domain_events import count_events, write_audit_log
from example_project.reporting.models import AuditEntry, EventCount
from example_project.shop.domain_events import reserve_stock, send_welcome_mail
from example_project.shop.models import Customer, Order, Reservation
from tests.support.waiting import wait_until

from .conftest import Handle, uses_all_databases

RESERVE_STOCK = "shop.reserve_stock"


@pytest.fixture
def order(transactional_db: None) -> Order:
    customer = Customer.objects.create(name="Customer 1", email="customer-1@example.com")
    return Order.objects.create(customer=customer, product="book", quantity=1)


def placed(order: Order) -> DomainEvent:
    return DomainEvent("order.placed", order.as_event_data(), domain_object_id=str(order.pk))


def test_a_new_customer_gets_a_mail() -> None:
    send_welcome_mail(
        DomainEvent("user.registered", {"name": "Customer 1", "email": "customer-1@example.com"})
    )

    (sent,) = mail.outbox
    assert sent.to == ["customer-1@example.com"]
    assert sent.from_email == "shop@example.com"
    assert "Hello Customer 1," in sent.body


def test_stock_is_reserved_where_it_is(order: Order) -> None:
    reserve_stock(placed(order))

    assert Reservation.objects.get().order == order
    assert Reservation.objects.get().warehouse == "north"


def test_an_unknown_warehouse_is_a_retry_that_says_why(order: Order) -> None:
    order.product = "lamp"

    with pytest.raises(Retry, match="No warehouse is known for 'lamp'; add it to SHOP_WAREHOUSES"):
        reserve_stock(placed(order))


@pytest.mark.django_db
def test_events_are_counted_by_kind() -> None:
    for routing_key in ("user.registered", "order.placed", "user.registered"):
        count_events(DomainEvent(routing_key, {}))

    assert dict(EventCount.objects.values_list("routing_key", "count")) == {
        "user.registered": 2,
        "order.placed": 1,
    }


@pytest.mark.django_db
def test_the_audit_log_keeps_an_event_in_full() -> None:
    event = DomainEvent("user.registered", {"name": "Customer 1"}, timestamp=1_700_000_000.5)

    write_audit_log(event)

    entry = AuditEntry.objects.get()
    assert entry.event_id == event.uuid_string
    assert entry.data == {"name": "Customer 1"}
    assert entry.happened_at.timestamp() == 1_700_000_000.5


@pytest.mark.django_db
def test_a_registration_that_comes_twice_takes_effect_once() -> None:
    event = DomainEvent("user.registered", {"name": "Customer 1", "email": "1@example.com"})

    assert len(handle_events(event)) == 3
    assert handle_events(event) == []

    assert len(mail.outbox) == 1
    assert EventCount.objects.get().count == 1
    assert AuditEntry.objects.count() == 1


def test_an_order_that_comes_twice_is_reserved_once(order: Order) -> None:
    event = placed(order)

    assert RESERVE_STOCK in handle_events(event)
    assert handle_events(event) == []

    assert Reservation.objects.get().order == order


@uses_all_databases
@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_an_order_that_cannot_be_handled_waits_until_the_setting_is_corrected(
    client: Client, handle: Handle, order: Order, settings: Settings
) -> None:
    fields = {"customer": order.customer_id, "product": "lamp", "quantity": 1, "card": "1"}
    event_id = client.post("/orders/", fields).json()["event"]

    def is_dead_lettered() -> bool:
        handle()
        return bool(dead_letters(RESERVE_STOCK))

    wait_until(is_dead_lettered, message="the event was not dead-lettered")
    (dead_letter,) = dead_letters(RESERVE_STOCK)
    assert dead_letter.event_id == event_id
    assert dead_letter.reason == Reason.RETRIES_EXHAUSTED.value
    assert "'lamp'" in dead_letter.error_message
    assert not Reservation.objects.exists()

    settings.SHOP_WAREHOUSES = {"lamp": "east"}
    call_command("replay_dead_letters", RESERVE_STOCK, verbosity=0)
    handle()
    assert Reservation.objects.get().warehouse == "east"
    assert not dead_letters(RESERVE_STOCK)
