"""Which database the URL names."""

from __future__ import annotations

import pytest
from django.db import connections
from pytest_django import Settings as DjangoSettings

from domain_event_broker import publish_domain_event
from domain_event_broker.django import conf
from domain_event_broker.django.conf import InvalidSettings
from domain_event_broker.django.transport import DatabaseTransport
from domain_event_broker.errors import SettingsError
from domain_event_broker.settings import Settings
from domain_event_broker.transports import transport_for


@pytest.mark.parametrize(
    ("url", "alias"),
    [
        ("database://", "default"),
        ("database:///", "default"),
        ("database://default", "default"),
        ("database://other", "other"),
        ("database://other/", "other"),
        ("DATABASE://other", "other"),
    ],
)
def test_it_names_a_database(url: str, alias: str) -> None:
    transport = transport_for(Settings(url=url))

    assert isinstance(transport, DatabaseTransport)
    assert transport.alias == alias


def test_one_that_there_is_not_is_told_with_those_there_are() -> None:
    with pytest.raises(SettingsError) as caught:
        transport_for(Settings(url="database://nowhere"))

    assert str(caught.value) == (
        "URL names the database 'nowhere', which DATABASES does not have; "
        "it has 'default', 'other'."
    )


@pytest.mark.parametrize(
    "url", ["database://default/table", "database://?timeout=1", "database:///path?x=1"]
)
def test_it_says_nothing_else(url: str) -> None:
    with pytest.raises(SettingsError, match=r"is database:// or database://alias\.$"):
        transport_for(Settings(url=url))


def test_a_database_that_it_does_not_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections["default"], "vendor", "mysql")

    with pytest.raises(SettingsError, match=r"'default' is of the kind 'mysql'"):
        DatabaseTransport(Settings(url="database://"))


def test_a_project_s_mistake_is_the_setting_s(settings: DjangoSettings) -> None:
    settings.DOMAIN_EVENT_BROKER = "database://nowhere"

    with pytest.raises(InvalidSettings, match=r"^DOMAIN_EVENT_BROKER: URL names the database"):
        conf.current()
    with pytest.raises(SettingsError, match="'nowhere'"):
        publish_domain_event("order.placed", {})


def test_the_transport_says_what_it_can() -> None:
    capabilities = DatabaseTransport.capabilities

    assert capabilities.persistent
    assert capabilities.counts_crashes
