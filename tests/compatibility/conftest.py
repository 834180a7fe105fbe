"""Fixtures: the core as 3.x users have it, without Django; and a 3.0.2 to talk to."""

from collections.abc import Iterator

import pytest

import domain_event_broker.settings as settings_module
from domain_event_broker import publishing
from domain_event_broker.transports import close_all
from tests.compatibility.environments import peer_python
from tests.compatibility.peers import Peer


@pytest.fixture(autouse=True)
def _core_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The default broker is that of the core; each test opens its own connections."""
    monkeypatch.setattr(settings_module, "BROKER", settings_module.LOCAL_RABBITMQ)
    monkeypatch.setattr(settings_module, "SERVICE", None)
    monkeypatch.setattr(publishing, "_default_publish", publishing._publish_to_process_default)
    yield
    close_all()


@pytest.fixture
def default_broker(broker_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a fresh vhost, which `settings.BROKER` names as well."""
    monkeypatch.setattr(settings_module, "BROKER", broker_url)
    return broker_url


@pytest.fixture(scope="session")
def peer() -> Peer:
    return Peer(peer_python())
