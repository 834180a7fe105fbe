"""Fixtures for tests that need no broker but the one in memory."""

import secrets
from collections.abc import Iterator

import pytest

import domain_event_broker.settings as settings_module
from domain_event_broker import publishing


@pytest.fixture
def url() -> str:
    """The URL of a fresh broker in memory."""
    return f"memory://{secrets.token_hex(8)}"


@pytest.fixture(autouse=True)
def _core_defaults(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The core as it is without Django; what a test assigns to is restored after it."""
    monkeypatch.setattr(settings_module, "BROKER", settings_module.LOCAL_RABBITMQ)
    monkeypatch.setattr(settings_module, "SERVICE", None)
    before = publishing._default_publish
    publishing.set_default_publish(None)
    yield
    publishing.set_default_publish(before)
