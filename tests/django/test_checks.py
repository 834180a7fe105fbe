"""What ``manage.py check`` says, each message with its id and a hint."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core import checks
from django.core.checks import CheckMessage
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connections
from pytest_django import Settings

from domain_event_broker import DomainEvent
from domain_event_broker import settings as core
from domain_event_broker.django import domain_event_handler
from domain_event_broker.django.checks import TAG
from domain_event_broker.django.registry import Registry
from tests.support.certificates import Authority

from .conftest import PASSWORD

declare: Callable[..., Any] = domain_event_handler

pytestmark = pytest.mark.usefixtures("handlers")


def on_order(event: DomainEvent) -> None:
    """A handler as it should be."""


def run_checks(*, deploy: bool = False) -> list[CheckMessage]:
    """All messages; each is a sentence with a hint and without a password."""
    messages = checks.run_checks(tags=[TAG], include_deployment_checks=deploy)
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
        ({"URL": "amqps://one", "TLS": {"CA": "/no/such.pem"}}, "CA in TLS: /no/such.pem cannot"),
        ({"URL": "amqps://one", "TLS": {"CERT": "x"}}, "Did you mean 'CERTIFICATE'?"),
        ({"URL": "amqp://one", "TLS": {"CA": "x"}}, "Write amqps://"),
        ("amqps://one/?ssl_options={'protocol':5}", "'protocol' is not taken"),
    ],
)
def test_e001_wrong_settings(settings: Settings, setting: object, words: str) -> None:
    settings.DOMAIN_EVENT_BROKER = setting

    message = only_message("E001")
    assert words in message.msg
    assert isinstance(message, checks.Error)


@pytest.mark.parametrize("key", ["SCRUB_ERROR", "REDACT_PAYLOAD"])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("no.such.module.clean", "names 'no.such.module.clean', which cannot be imported"),
        (f"{__name__}.TAG", "which is no function"),
        (5, "must be a function or its dotted path"),
    ],
)
def test_e001_functions_that_are_not_there(
    settings: Settings, key: str, value: object, words: str
) -> None:
    settings.DOMAIN_EVENT_BROKER = {"URL": "memory://one", key: value}

    message = only_message("E001")
    assert message.msg.startswith(f"DOMAIN_EVENT_BROKER: {key} ")
    assert words in message.msg


def test_functions_that_are_there_are_no_problem(settings: Settings) -> None:
    settings.DOMAIN_EVENT_BROKER = {"URL": "memory://one", "SCRUB_ERROR": f"{__name__}.on_order"}

    assert run_checks() == []


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
        ("E007", lambda: declare("order.*", backoff=3)(on_order)),
        ("E009", lambda: declare("order.*", name="bill")(lambda: None)),
        ("E010", lambda: declare(on_order)),
        ("E011", lambda: declare("order.*", retries=3)(on_order)),
        ("E011", lambda: declare("order.*", inbox="yes")(on_order)),
        ("E011", lambda: declare("order.*", concurrency=0)(on_order)),
        ("E011", lambda: declare("order.*", concurrency="4")(on_order)),
        ("E012", lambda: declare("order.*", using="nowhere")(on_order)),
        ("E012", lambda: declare("order.*", using=5)(on_order)),
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


def test_e012_names_the_databases_that_there_are() -> None:
    declare("order.*", using="othr")(on_order)

    hint = only_message("E012").hint
    assert hint is not None
    assert hint.startswith("It has other, default.")


class TestDatabasesOfAnotherKind:
    @pytest.fixture(autouse=True)
    def another_kind(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connections["default"], "vendor", "mysql")

    def test_e013_an_inbox_cannot_be_there(self) -> None:
        declare("order.*")(on_order)

        message = only_message("E013")
        assert isinstance(message, checks.Error)
        assert "'default' is of the kind 'mysql'" in message.msg
        assert str(message.obj).startswith(f"{__file__}:")

    @pytest.mark.parametrize("options", [{"inbox": False}, {"using": "other"}])
    def test_without_one_or_elsewhere_all_is_well(self, options: dict[str, Any]) -> None:
        declare("order.*", **options)(on_order)

        assert run_checks() == []

    def test_e014_the_outbox_cannot_be_there(self, settings: Settings) -> None:
        settings.DOMAIN_EVENT_BROKER = f"amqp://shop:{PASSWORD}@localhost/"
        message = only_message("E014")
        assert isinstance(message, checks.Error)
        assert "'default' is of the kind 'mysql'" in message.msg
        assert message.hint is not None
        assert '"OUTBOX": False' in message.hint

        settings.DATABASE_ROUTERS = ["tests.django.routers.InOther"]
        assert run_checks() == []

    @pytest.mark.parametrize(
        "setting", [{"URL": "amqp://localhost", "OUTBOX": False}, "memory://one", None]
    )
    def test_without_an_outbox_all_is_well(self, settings: Settings, setting: object) -> None:
        settings.DOMAIN_EVENT_BROKER = setting

        assert run_checks() == []


def test_no_database_at_all(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections["default"], "vendor", "unknown")
    settings.DOMAIN_EVENT_BROKER = "amqp://localhost"
    declare("order.*")(on_order)

    assert sorted(message.id or "" for message in run_checks()) == [
        "domain_event_broker.E013",
        "domain_event_broker.E014",
    ]
    assert all("DATABASES names no database" in message.msg for message in run_checks())


class TestRowLocks:
    """W007, with ``--deploy``."""

    @pytest.fixture(autouse=True)
    def without_row_locks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for alias, can_lock in (("default", False), ("other", True)):
            features = connections[alias].features
            monkeypatch.setattr(features, "has_select_for_update_skip_locked", can_lock)

    @pytest.mark.parametrize(
        ("setting", "aliases"),
        [
            ("amqp://localhost", ["default"]),
            ("database://", ["default"]),
            ({"URL": "database://", "OUTBOX": False}, ["default"]),
            ({"URL": "database://other", "OUTBOX": False}, []),
            ({"URL": "amqp://localhost", "OUTBOX": False}, []),
            ("memory://one", []),
            (None, []),
        ],
    )
    def test_a_database_that_rows_are_claimed_in(
        self, settings: Settings, setting: object, aliases: list[str]
    ) -> None:
        settings.DOMAIN_EVENT_BROKER = setting
        told = run_checks(deploy=True)

        assert [message.id for message in told] == ["domain_event_broker.W007"] * len(aliases)
        for message, alias in zip(told, aliases, strict=True):
            assert isinstance(message, checks.Warning)
            assert repr(alias) in message.msg

    def test_only_before_a_deployment(self, settings: Settings) -> None:
        settings.DOMAIN_EVENT_BROKER = "database://"

        assert run_checks() == []

    def test_wrong_settings_are_told_elsewhere(self, settings: Settings) -> None:
        settings.DOMAIN_EVENT_BROKER = {"nonsense": 1}

        assert [message.id for message in run_checks(deploy=True)] == ["domain_event_broker.E001"]


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


def test_no_warning_about_guest_where_a_client_certificate_names_the_user(
    settings: Settings, tmp_path: Path
) -> None:
    own = Authority(tmp_path).issue("own", "shop").settings
    settings.DOMAIN_EVENT_BROKER = {"URL": "amqps://rabbit.example.com/", "TLS": own}

    assert run_checks() == []


def test_w004_a_queue_that_is_not_durable(handlers: Registry) -> None:
    declare("order.*", name="bill", durable=False)(on_order)
    declare("order.*", name="watch", durable=False, exclusive=True)(on_order)

    message = only_message("W004")
    assert "on_order" in message.msg
    assert str(message.obj).startswith(f"{__file__}:")


def test_w008_a_broker_that_is_not_verified(settings: Settings) -> None:
    url = f"amqps://shop:{PASSWORD}@rabbit.example.com/"
    settings.DOMAIN_EVENT_BROKER = {"URL": url, "TLS": {"VERIFY": False}}

    message = only_message("W008")
    assert "rabbit.example.com" in message.msg
    assert isinstance(message, checks.Warning)
    settings.DOMAIN_EVENT_BROKER = {"URL": url, "TLS": {"VERIFY": True}}
    assert run_checks() == []


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
