"""Fixtures that every part of the suite takes its transport from."""

from collections.abc import Iterator

import pytest

from domain_event_broker.transports.base import Transport

from .harness import Desk, MakeTransport


@pytest.fixture
def transport(make_transport: MakeTransport) -> Transport:
    return make_transport()


@pytest.fixture
def desk(transport: Transport) -> Iterator[Desk]:
    made = Desk(transport)
    yield made
    made.close()
