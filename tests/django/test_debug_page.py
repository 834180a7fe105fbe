"""Django's pages and mails about errors show settings and local variables: never a password."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.test import RequestFactory
from django.views.debug import ExceptionReporter
from pytest_django import Settings

from domain_event_broker import (
    DomainEventBrokerError,
    Publisher,
    publish_domain_event,
    replay_all,
)
from domain_event_broker.django import domain_event_handler
from domain_event_broker.django.databases import MissingTables
from domain_event_broker.django.models import OutboxEvent
from domain_event_broker.django.registry import Registry
from tests.support.ports import free_ports

from .conftest import PASSWORD
from .databases import unreachable, without_table
from .marks import both_databases

ADDRESS = f"amqp://shop:{PASSWORD}@127.0.0.1"
SECURE = f"amqps://shop:{PASSWORD}@127.0.0.1/"
WRONG = [
    f"{ADDRESS}:no-port/",
    f"{ADDRESS}/#fragment",
    f"{ADDRESS}/?heartbeat=x",
    f"{ADDRESS} ",
    f"amqp:shop:{PASSWORD}@127.0.0.1",
    f"pigeon://shop:{PASSWORD}@127.0.0.1",
    {"URL": f"{ADDRESS}/", "PREFETCH": -1},
    {"URL": f"{ADDRESS}/", "PREFETSH": 1},
    {"URL": f"{ADDRESS}/", "EXCHANGE": "amq.topic"},
    {"URL": SECURE, "TLS": {"CERTIFICATE": "/gone", "KEY": "/gone", "KEY_PASSWORD": PASSWORD}},
    {"URL": SECURE, "TLS": {"KEY": "/gone", "KEY_PASSWORD": PASSWORD}},
    {"URL": SECURE, "TLS": {"CERTIFICATE": "/gone", "KEY": "/gone", "KEY_PASSWORD": [PASSWORD]}},
    SECURE + "?ssl_options={'keyfile':'/gone','password':'" + PASSWORD + "'}",
    SECURE + "?ssl_options={'certfile':'/gone','password':'" + PASSWORD + "'}",
    SECURE + "?ssl_options={'password':'" + PASSWORD + "'",
]


def pages(error: BaseException) -> str:
    """What a developer sees, or what the admins are mailed, for `error`."""
    request = RequestFactory().get("/")
    reporter = ExceptionReporter(request, type(error), error, error.__traceback__)
    html, text = reporter.get_traceback_html(), reporter.get_traceback_text()
    assert "DOMAIN_EVENT_BROKER" in html
    assert "DOMAIN_EVENT_BROKER" in text
    return html + text


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize("number", range(len(WRONG)))
def test_wrong_settings(settings: Settings, number: int, debug: bool) -> None:
    settings.DEBUG = debug
    settings.DOMAIN_EVENT_BROKER = WRONG[number]

    with pytest.raises(DomainEventBrokerError) as caught:
        publish_domain_event("order.placed", {})
    assert PASSWORD not in pages(caught.value)


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_wrong_settings_by_way_of_the_core(settings: Settings, number: int) -> None:
    settings.DEBUG = True
    settings.DOMAIN_EVENT_BROKER = WRONG[number]

    with pytest.raises(DomainEventBrokerError) as caught:
        Publisher().publish(b"{}", "order.placed")
    assert PASSWORD not in pages(caught.value)


def test_a_broker_that_is_away(settings: Settings, handlers: Registry) -> None:
    settings.DEBUG = True
    settings.DOMAIN_EVENT_BROKER = {
        "URL": f"{ADDRESS}:{free_ports(1)[0]}/",
        "PUBLISH_TIMEOUT": 0.2,
        "OUTBOX": False,
    }
    domain_event_handler("order.*", name="bill")(print)

    with pytest.raises(DomainEventBrokerError) as failed_publish:
        publish_domain_event("order.placed", {})
    with pytest.raises(DomainEventBrokerError) as failed_replay:
        replay_all("bill")
    with pytest.raises(CommandError) as failed_command:
        call_command("replay_domain_event", "bill")
    for caught in (failed_publish, failed_replay, failed_command):
        assert PASSWORD not in pages(caught.value)


@both_databases
def test_an_outbox_that_is_away(settings: Settings) -> None:
    settings.DEBUG = True
    settings.DOMAIN_EVENT_BROKER = f"{ADDRESS}/"

    with without_table(OutboxEvent, "default"), pytest.raises(MissingTables) as no_table:
        publish_domain_event("order.placed", {"card": "1234-5678"})
    with unreachable("default"), pytest.raises(OperationalError) as no_database:
        publish_domain_event("order.placed", {"card": "1234-5678"})
    for caught in (no_table, no_database):
        assert PASSWORD not in pages(caught.value)
