"""The demo's own judgement: it must see when something was not handled."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from example_project.demo.evidence import Published, logged_event_ids, mails, tally
from example_project.shop.models import Customer

from .conftest import Handle, uses_all_databases

pytestmark = uses_all_databases

# The subscriber relays the outbox of each.
pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

ORDER = {"product": "book", "quantity": 1, "card": "valid"}


@pytest.fixture(autouse=True)
def mail_folder(settings: Settings, tmp_path: Path) -> Path:
    settings.MAIL_FOLDER = str(tmp_path)
    return tmp_path


@pytest.fixture
def published(client: Client, handle: Handle) -> Published:
    customer = Customer.objects.create(name="Customer 1", email="customer-1@example.com")
    answer = client.post("/orders/", {**ORDER, "customer": customer.pk})
    return Published("order.placed", answer.json()["event"])


def test_what_was_handled_is_even_with_what_was_published(
    published: Published, handle: Handle
) -> None:
    handle()

    tallies = tally([published])
    assert all(line.is_even for line in tallies)
    assert {line.handler.rpartition(".")[2]: line.handled for line in tallies} == {
        "send_welcome_mail": 0,
        "reserve_stock": 1,
        "count_events": 1,
        "write_audit_log": 1,
    }
    assert logged_event_ids() == {published.event_id}


def test_what_was_not_handled_is_seen(published: Published) -> None:
    uneven = [line.handler.rpartition(".")[2] for line in tally([published]) if not line.is_even]

    assert uneven == ["reserve_stock", "count_events", "write_audit_log"]


def test_what_was_handled_but_not_published_is_seen(published: Published, handle: Handle) -> None:
    handle()

    assert not any(line.is_even for line in tally([]) if line.handled)


def test_an_event_names_the_handlers_that_are_bound_to_it(published: Published) -> None:
    names = [handler.function.__name__ for handler in published.handlers()]

    assert names == ["reserve_stock", "count_events", "write_audit_log"]


def test_mails_are_read_from_their_files(mail_folder: Path) -> None:
    mail = "Subject: Welcome\nTo: customer-{}@example.com\n\nHello.\n" + "-" * 79 + "\n"
    (mail_folder / "1.log").write_text(mail.format(1) + mail.format(2))

    assert [m["To"] for m in mails()] == ["customer-1@example.com", "customer-2@example.com"]
