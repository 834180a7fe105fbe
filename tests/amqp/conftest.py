"""Fixtures of the AMQP transport's tests."""

from collections.abc import Iterator

import pytest

from domain_event_broker.transports import close_all


@pytest.fixture(autouse=True)
def _connections_of_its_own() -> Iterator[None]:
    """Each test publishes on connections of its own, which end with it."""
    yield
    close_all()
