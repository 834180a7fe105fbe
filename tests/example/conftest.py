"""A broker in memory for the shop, empty for each test."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest
from django.core.management import call_command
from pytest_django.fixtures import Settings

Handle = Callable[[], None]

#: For tests that use `handle`: the subscriber looks into the outbox of every database.
uses_all_databases = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.fixture(autouse=True)
def shop(settings: Settings) -> None:
    """Settings that no environment variable has changed, with an empty broker in memory."""
    settings.DOMAIN_EVENT_BROKER = {"URL": f"memory://shop-{uuid4()}", "SERVICE": "shop"}
    settings.SHOP_WAREHOUSES = {"book": "north", "pen": "south"}


@pytest.fixture
def handle(transactional_db: None) -> Handle:
    """Run the subscriber until nothing waits any more.

    It ran once already, so that the queues are there and what is published is kept.
    """

    def run_subscriber() -> None:
        call_command("run_subscriber", drain=True, verbosity=0)

    run_subscriber()
    return run_subscriber
