"""Brokers that keep dead letters, each of them the project's while a test runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import Settings

from domain_event_broker.django.signals import event_replayed

from . import letters


@pytest.fixture(params=["memory", "database"])
def bill(request: pytest.FixtureRequest, broker: str, settings: Settings) -> str:
    """The name of a handler that has run on a broker inside this project, of each kind."""
    if request.param == "database":
        settings.DOMAIN_EVENT_BROKER = {"URL": "database://", "SERVICE": "shop"}
    letters.declare("bill")
    return "bill"


@pytest.fixture(params=["default", "other"])
def alias(request: pytest.FixtureRequest, settings: Settings) -> str:
    """The database of the dead letters, which routers may choose."""
    if request.param == "other":
        settings.DATABASE_ROUTERS = ["tests.django.routers.InOther"]
    return str(request.param)


@pytest.fixture
def replayed() -> Iterator[list[dict[str, Any]]]:
    """What `event_replayed` told."""
    told: list[dict[str, Any]] = []

    def note(**kwargs: Any) -> None:
        told.append(kwargs)

    event_replayed.connect(note)
    yield told
    event_replayed.disconnect(note)
