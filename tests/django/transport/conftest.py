"""Consumers of the database, closed before its tables are emptied."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from domain_event_broker.django.transport import DatabaseTransport
from domain_event_broker.django.transport import consumer as consumers
from domain_event_broker.settings import Settings
from tests.conformance.harness import Desk

#: Longer than a busy machine holds up the thread that renews them.
SHORT_LEASE_SECONDS = 2.0
#: Makes a desk on the database; arguments are `Settings`', by default for "default".
MakeDesk = Callable[..., Desk]


@pytest.fixture(autouse=True)
def _no_claim_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is has the keeper do its work at once, beside whatever a test does meanwhile."""
    monkeypatch.setattr(consumers, "_SLOW_CLAIM_SECONDS", math.inf)


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
    return make_desk()


@pytest.fixture
def short_lease_desk(make_desk: MakeDesk) -> Desk:
    """One to see leases renewed on."""
    return make_desk(lease_seconds=SHORT_LEASE_SECONDS)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Consumers do not look for an hour, unless they are woken or have to."""
    monkeypatch.setattr(consumers, "_POLL_SECONDS", 3_600.0)
    monkeypatch.setattr(consumers, "_LISTENING_POLL_SECONDS", 3_600.0)
