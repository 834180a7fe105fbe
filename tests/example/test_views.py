"""The two views: what they answer, write and publish."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from example_project.reporting.models import AuditEntry
from example_project.shop.models import Customer, Order

from .conftest import Handle, uses_all_databases

pytestmark = uses_all_databases

# The subscriber relays the outbox of each.
pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

CREATED, BAD_REQUEST, PAYMENT_REQUIRED, METHOD_NOT_ALLOWED = 201, 400, 402, 405
CUSTOMER = {"name": "Customer 1", "email": "customer-1@example.com"}


@pytest.fixture
def customer(transactional_db: None) -> Customer:
    return Customer.objects.create(**CUSTOMER)


def order_of(customer: Customer, **changes: object) -> dict[str, Any]:
    return {"customer": customer.pk, "product": "book", "quantity": 2, "card": "1", **changes}


def test_registering_creates_a_customer_and_publishes(client: Client, handle: Handle) -> None:
    response = client.post("/register/", CUSTOMER)

    customer = Customer.objects.get()
    assert response.status_code == CREATED
    assert response.json()["customer"] == customer.pk
    assert (customer.name, customer.email) == ("Customer 1", "customer-1@example.com")
    handle()
    entry = AuditEntry.objects.get()
    assert entry.event_id == response.json()["event"]
    assert entry.routing_key == "user.registered"
    assert entry.data == CUSTOMER


def test_ordering_creates_an_order_and_publishes(
    client: Client, handle: Handle, customer: Customer
) -> None:
    response = client.post("/orders/", order_of(customer))

    order = Order.objects.get()
    assert response.status_code == CREATED
    assert response.json()["order"] == order.pk
    assert (order.customer, order.product, order.quantity) == (customer, "book", 2)
    handle()
    entry = AuditEntry.objects.get()
    assert entry.event_id == response.json()["event"]
    assert entry.routing_key == "order.placed"
    assert entry.data == {
        "order": order.pk,
        "customer": customer.pk,
        "product": "book",
        "quantity": 2,
    }


def test_a_declined_card_leaves_no_order_and_publishes_nothing(
    client: Client, handle: Handle, customer: Customer
) -> None:
    response = client.post("/orders/", order_of(customer, card="declined"))

    assert response.status_code == PAYMENT_REQUIRED
    assert response.json() == {"error": "The card was declined; the order was not placed."}
    assert not Order.objects.exists()
    handle()
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"email": "not an address"}, "email: Enter a valid email address."),
        ({"email": ""}, "email: This field is required."),
        ({"name": ""}, "name: This field is required."),
        ({"name": "x" * 101}, "name: Ensure this value has at most 100 characters (it has 101)."),
        ({"name": "\0"}, "name: Null characters are not allowed."),
    ],
)
def test_a_bad_registration_is_refused_with_a_sentence(
    client: Client, handle: Handle, changes: dict[str, str], message: str
) -> None:
    response = client.post("/register/", CUSTOMER | changes)

    assert response.status_code == BAD_REQUEST
    assert response.json() == {"error": message}
    assert not Customer.objects.exists()
    handle()
    assert not AuditEntry.objects.exists()


def test_an_address_registers_once(client: Client, customer: Customer) -> None:
    response = client.post("/register/", CUSTOMER)

    assert response.status_code == BAD_REQUEST
    assert response.json() == {"error": "email: Customer with this Email already exists."}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantity": 0}, "quantity: Ensure this value is greater than or equal to 1."),
        ({"quantity": 1001}, "quantity: Ensure this value is less than or equal to 1000."),
        ({"quantity": "two"}, "quantity: Enter a whole number."),
        ({"product": ""}, "product: This field is required."),
        ({"card": ""}, "card: This field is required."),
    ],
)
def test_a_bad_order_is_refused_with_a_sentence(
    client: Client, handle: Handle, customer: Customer, changes: dict[str, Any], message: str
) -> None:
    response = client.post("/orders/", order_of(customer, **changes))

    assert response.status_code == BAD_REQUEST
    assert response.json() == {"error": message}
    assert not Order.objects.exists()
    handle()
    assert not AuditEntry.objects.exists()


def test_an_order_of_nobody_is_refused(client: Client, customer: Customer) -> None:
    response = client.post("/orders/", order_of(customer) | {"customer": customer.pk + 1})

    assert response.status_code == BAD_REQUEST
    assert response.json()["error"].startswith("customer: Select a valid choice.")


@pytest.mark.parametrize("path", ["/register/", "/orders/"])
def test_only_post_is_allowed(client: Client, path: str) -> None:
    assert client.get(path).status_code == METHOD_NOT_ALLOWED
