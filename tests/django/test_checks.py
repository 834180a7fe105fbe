"""What ``manage.py check`` says, each message with its id and a hint."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.core import checks
from django.core.checks import CheckMessage
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from pytest_django import Settings

from domain_event_broker import DomainEvent
from domain_event_broker import settings as core
from domain_event_broker.django import domain_event_handler
from domain_event_broker.django.checks import TAG
from domain_event_broker.django.registry import Registry

from .conftest import PASSWORD

declare: Callable[..., Any] = domain_event_handler

pytestmark = pytest.mark.usefixtures("handlers")


def on_order(event: DomainEvent) -> None:
    """A handler as it should be."""


def run_checks() -> list[CheckMessage]:
    """All messages; each is a sentence with a hint and without a password."""
    messages = checks.run_checks(tags=[TAG])
    for message in messages:
        assert re.fullmatch(r"domain_event_broker\.[EW]\d{3}", message.id or "")
        assert message.msg.endswith(".")
        assert message.hint
        assert PASSWORD not in str(message)
    return messages


def only_message(code: str) -> CheckMessage:
    (message,) = run_checks()
    assert message.id == f"domain_event_broker.{code}"
    return message


def test_a_project_in_order_hears_nothing(settings: Settings) -> None:
    declare("order.*")(on_order)

    assert run_checks() == []
    settings.DOMAIN_EVENT_BROKER = None
    assert run_checks() == []


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"UEL": "memory://one"}, "Did you mean 'URL'?"),
        ({"URL": "memory://one", "UNROUTABLE": "maybe"}, "UNROUTABLE must be one of"),
        (f"amqp://user:{PASSWORD}/@localhost/", "cannot be read"),
        (f"amqp://user:{PASSWORD}@localhost/?heartbeat=x", "heartbeat"),
        (["amqp://one"], "not list"),
        ("", "URL"),
    ],
)
def test_e001_wrong_settings(settings: Settings, setting: object, words: str) -> None:
    settings.DOMAIN_EVENT_BROKER = setting

    message = only_message("E001")
    assert words in message.msg
    assert isinstance(message, checks.Error)


def test_e002_unknown_scheme(settings: Settings) -> None:
    settings.DOMAIN_EVENT_BROKER = f"kafka://user:{PASSWORD}@localhost"

    assert "'kafka'" in only_message("E002").msg


def test_e003_same_names() -> None:
    declare("order.*", name="bill")(on_order)
    declare("user.*", name="bill")(on_order)

    message = only_message("E003")
    assert str(message).startswith(f"{__file__}:")


@pytest.mark.parametrize(
    ("code", "declaration"),
    [
        ("E004", lambda: declare(["order.*"])(on_order)),
        ("E005", lambda: declare("order.*", name="amq.bill")(on_order)),
        ("E006", lambda: declare("order.*")(lambda event: None)),
        ("E007", lambda: declare("order.*", max_retries="3")(on_order)),
        ("E009", lambda: declare("order.*", name="bill")(lambda: None)),
        ("E010", lambda: declare(on_order)),
        ("E011", lambda: declare("order.*", retries=3)(on_order)),
    ],
)
def test_wrong_handlers(code: str, declaration: Callable[[], None]) -> None:
    declaration()

    message = only_message(code)
    assert isinstance(message, checks.Error)
    assert str(message.obj).startswith(f"{__file__}:")


def test_e008_asynchronous_handlers() -> None:
    async def handle(event: DomainEvent) -> None:
        """Not yet."""

    declare("order.*", name="bill")(handle)

    assert "asynchronous" in only_message("E008").msg


def test_w001_no_setting(settings: Settings) -> None:
    del settings.DOMAIN_EVENT_BROKER

    assert isinstance(only_message("W001"), checks.Warning)
    # As in 3.x without the setting.
    core.BROKER = "memory://assigned"
    try:
        assert run_checks() == []
    finally:
        core.BROKER = core.LOCAL_RABBITMQ


@pytest.mark.parametrize("host", ["rabbitmq", "10.0.0.7", "[2001:db8::1]", "rabbit.example.com"])
def test_w002_plaintext_over_the_network(settings: Settings, host: str) -> None:
    settings.DOMAIN_EVENT_BROKER = f"amqp://shop:{PASSWORD}@{host}/"

    message = only_message("W002")
    assert host in message.msg
    assert isinstance(message, checks.Warning)


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]", "rabbit.localhost", ""]
)
def test_no_warning_about_this_machine(settings: Settings, host: str) -> None:
    settings.DOMAIN_EVENT_BROKER = f"amqp://guest:guest@{host}:5672/"

    assert run_checks() == []


@pytest.mark.parametrize("user", [f"guest:{PASSWORD}@", f"%67uest:{PASSWORD}@", ""])
def test_w003_guest_over_the_network(settings: Settings, user: str) -> None:
    settings.DOMAIN_EVENT_BROKER = f"amqps://{user}rabbit.example.com/"

    assert "guest" in only_message("W003").msg


def test_w004_a_queue_that_is_not_durable(handlers: Registry) -> None:
    declare("order.*", name="bill", durable=False)(on_order)
    declare("order.*", name="watch", durable=False, exclusive=True)(on_order)

    message = only_message("W004")
    assert "on_order" in message.msg
    assert str(message.obj).startswith(f"{__file__}:")


def test_w005_a_service_named_like_many(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "SERVICE", "config")
    settings.DOMAIN_EVENT_BROKER = "memory://one"
    declare("order.*", name="bill")(on_order)
    assert run_checks() == []

    declare("order.*")(on_order)
    assert "'config'" in only_message("W005").msg

    settings.DOMAIN_EVENT_BROKER = {"URL": "memory://one", "SERVICE": "config"}
    assert run_checks() == []


def test_w006_no_heartbeats(settings: Settings) -> None:
    settings.DOMAIN_EVENT_BROKER = "amqp://guest:guest@localhost/?heartbeat=0"
    assert "heartbeats" in only_message("W006").msg

    settings.DOMAIN_EVENT_BROKER = "amqp://guest:guest@localhost/?heartbeat=7"
    assert run_checks() == []


def test_all_is_told_at_once(settings: Settings) -> None:
    settings.DOMAIN_EVENT_BROKER = {"nonsense": 1}
    declare("order*", max_retries=-1)(on_order)

    with pytest.raises(SystemCheckError) as caught:
        call_command("check", tags=[TAG])

    for code in ("E001", "E004", "E007"):
        assert f"(domain_event_broker.{code})" in str(caught.value)
