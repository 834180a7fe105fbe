"""Consumers of the database, closed before its tables are emptied."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from domain_event_broker.django.transport import DatabaseTransport
from domain_event_broker.settings import Settings
from tests.conformance.harness import Desk

#: Makes a desk on the database; arguments are `Settings`', by default for "default".
MakeDesk = Callable[..., Desk]


@pytest.fixture
def make_desk() -> Iterator[MakeDesk]:
    with ExitStack() as made:

        def make(url: str = "database://", **settings: Any) -> Desk:
            desk = Desk(DatabaseTransport(Settings(url=url, **settings)))
            made.callback(desk.close)
            return desk

        yield make


@pytest.fixture
def desk(make_desk: MakeDesk) -> Desk:
    """One whose leases are as short as they may be."""
    return make_desk(lease_seconds=0.5)
