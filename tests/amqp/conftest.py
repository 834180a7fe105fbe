"""Fixtures of the AMQP transport's tests."""

import secrets
from collections.abc import Iterator

import pytest

from domain_event_broker.transports import close_all
from tests.amqp.accounts import Account
from tests.support.rabbitmq import RabbitmqNode


@pytest.fixture(autouse=True)
def _connections_of_its_own() -> Iterator[None]:
    """Each test publishes on connections of its own, which end with it."""
    yield
    close_all()


@pytest.fixture
def account(rabbitmq: RabbitmqNode) -> Iterator[Account]:
    """A new user who may do nothing yet."""
    account = Account(f"user-{secrets.token_hex(4)}", secrets.token_hex(8))
    account.save(rabbitmq)
    yield account
    rabbitmq.management.delete("users", account.name)
