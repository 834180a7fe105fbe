"""A broker in memory, empty for each test, a listener on it, and an empty registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from pytest_django import Settings

from domain_event_broker.django.registry import Registry, registry

from .listener import Listener
from .project import Project

PASSWORD = "open-sesame"


@pytest.fixture(autouse=True)
def broker(settings: Settings) -> str:
    """The URL of an empty broker in memory, which is the project's."""
    url = f"memory://django-{uuid4()}"
    settings.DOMAIN_EVENT_BROKER = {"URL": url, "SERVICE": "shop"}
    return url


@pytest.fixture
def listener(broker: str) -> Iterator[Listener]:
    """Receives every event of the project's broker."""
    with Listener(broker) as listening:
        yield listening


@pytest.fixture
def handlers(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The project's registry, empty for the test."""
    monkeypatch.setattr(registry, "_declarations", [])
    return registry


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project of its own with one app, for processes of its own."""
    return Project(tmp_path)
