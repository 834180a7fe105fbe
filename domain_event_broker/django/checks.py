"""What ``manage.py check`` says.

    E001  DOMAIN_EVENT_BROKER is wrong         E007  max_retries or backoff is wrong
    E002  the URL's scheme is unknown          E008  a handler is asynchronous or a generator
    E003  two handlers have the same name      E009  a handler takes no event
    E004  binding keys are wrong               E010  the decorator has no parentheses
    E005  a handler's name cannot be used      E011  an option is unknown or of a wrong type
    E006  a handler has no default name        E012  using names an unknown database
    E013  an inbox cannot be in its database   E014  the outbox cannot be in its database

    W001  DOMAIN_EVENT_BROKER is not set       W004  a queue is not durable
    W002  a password crosses the network       W005  the service's name may not be its own
    W003  "guest" is used over the network     W006  heartbeats are turned off
    W007  a database cannot lock rows (with --deploy)
    W008  TLS does not verify the broker

No check connects to anything, and none quotes a password.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from django.apps import AppConfig
from django.core import checks
from django.core.checks import CheckMessage
from django.db import connections

from .. import settings as core
from ..errors import ConfigurationError
from ..settings import Settings
from ..transports import transport_for
from . import conf
from .databases import aliases_with
from .deferring import needs_outbox
from .dialects import check_supported
from .models import OutboxEvent
from .registry import registry
from .transactions import outbox_alias
from .transport import DatabaseTransport

TAG = "domain_event_broker"

#: RabbitMQ's own default user, which it admits from its own machine only.
_GUEST = "guest"
#: First parts of settings modules that many projects share.
_COMMON_NAMES = frozenset(
    {"app", "backend", "config", "core", "main", "project", "server", "settings", "site", "web"}
)


def install() -> None:
    """Register the checks. Safe to be called again."""
    for check in (check_settings, check_network, check_handlers, check_outbox):
        checks.register(check, TAG)
    checks.register(check_row_locks, TAG, deploy=True)


AppConfigs = Sequence[AppConfig] | None


def check_settings(app_configs: AppConfigs, **kwargs: Any) -> list[CheckMessage]:
    """Whether the settings can be read, what they name can be imported, and they are there."""
    try:
        settings = conf.with_functions()
    except conf.InvalidSettings as error:
        return [_settings_error(error)]
    if settings is None or conf.is_set() or core.BROKER != core.LOCAL_RABBITMQ:
        return []
    return [
        _message(
            checks.Warning,
            "W001",
            f"{conf.SETTING} is not set: events go to RabbitMQ on this machine.",
            "Set it to the broker's URL (which may be that of this machine), or to None to "
            "publish nothing.",
        )
    ]


def check_network(app_configs: AppConfigs, **kwargs: Any) -> list[CheckMessage]:
    """Whether the way to the broker is safe."""
    settings = _readable_settings()
    if settings is None or settings.scheme not in ("amqp", "amqps"):
        return []
    return [warning for node in settings.nodes for warning in _network_warnings(node)]


def _network_warnings(node: Settings) -> Iterator[CheckMessage]:
    parts = urlsplit(node.urls[0])
    yield from _heartbeat_warnings(node, parts.query)
    yield from _verify_warnings(node)
    if not _is_loopback(parts.hostname):
        yield from _plaintext_warnings(node)
        yield from _guest_warnings(node, parts.username)


def check_handlers(app_configs: AppConfigs, **kwargs: Any) -> list[CheckMessage]:
    """Whether every handler can run."""
    errors = [
        _message(checks.Error, problem.code, problem.message, problem.hint, problem.place)
        for problem in registry.problems()
    ]
    return [*errors, *_transient_queue_warnings(), *_service_warnings()]


def check_outbox(app_configs: AppConfigs, **kwargs: Any) -> list[CheckMessage]:
    """Whether what is published can be stored first."""
    settings = _readable_settings()
    if settings is None or not needs_outbox(settings):
        return []
    try:
        check_supported(connections[outbox_alias()])
    except ConfigurationError as error:
        hint = f'Set {conf.SETTING} = {{"URL": ..., "OUTBOX": False}}, or use a database that can.'
        return [_message(checks.Error, "E014", str(error), hint)]
    return []


def check_row_locks(app_configs: AppConfigs, **kwargs: Any) -> list[CheckMessage]:
    """Whether several subscribers or relays can claim rows side by side."""
    settings = _readable_settings()
    if settings is None:
        return []
    claimed = set(aliases_with(OutboxEvent)) if needs_outbox(settings) else set()
    transport = transport_for(settings)
    if isinstance(transport, DatabaseTransport):
        claimed.add(transport.alias)
    return [
        _message(
            checks.Warning,
            "W007",
            f"The database {alias!r} cannot lock rows: where several processes claim events, each "
            "waits until the others have written.",
            "Run one subscriber, or use PostgreSQL.",
        )
        for alias in sorted(claimed)
        if not connections[alias].features.has_select_for_update_skip_locked
    ]


def _settings_error(error: conf.InvalidSettings) -> CheckMessage:
    if isinstance(error, conf.UnknownScheme):
        hint = (
            "The scheme names the transport: amqp:// or amqps:// for RabbitMQ, database:// for the "
            "project's own database."
        )
        return _message(checks.Error, "E002", str(error), hint)
    hint = (
        f"{conf.SETTING} is a URL such as 'amqp://user:password@host:5672/vhost' or 'database://', "
        "None to publish nothing, or a dict with the URL and further keys."
    )
    return _message(checks.Error, "E001", str(error), hint)


def _heartbeat_warnings(settings: Settings, query: str) -> Iterator[CheckMessage]:
    if parse_qs(query).get("heartbeat") == ["0"]:
        yield _message(
            checks.Warning,
            "W006",
            f"The URL of {settings.safe_url} turns heartbeats off: a connection that breaks "
            "silently is never noticed.",
            "Leave ?heartbeat=0 out, or give a number of seconds, such as 20.",
        )


def _plaintext_warnings(settings: Settings) -> Iterator[CheckMessage]:
    if settings.scheme == "amqp":
        yield _message(
            checks.Warning,
            "W002",
            f"The connection to {settings.safe_url} is not encrypted: the password and the events "
            "can be read on the way.",
            "Use amqps://, or silence this where the network is private.",
        )


def _verify_warnings(settings: Settings) -> Iterator[CheckMessage]:
    if settings.scheme == "amqps" and not settings.tls.verify:
        yield _message(
            checks.Warning,
            "W008",
            f"VERIFY in TLS is False: whoever answers as {settings.safe_url} gets the password "
            "and the events.",
            "Leave VERIFY out, and give the certificate of the broker's authority as CA, or the "
            "name that its certificate is for as SERVER_HOSTNAME.",
        )


def _guest_warnings(settings: Settings, user: str | None) -> Iterator[CheckMessage]:
    if user is None and settings.tls.certificate:
        return  # it names the user
    if unquote(user or "") in ("", _GUEST):
        yield _message(
            checks.Warning,
            "W003",
            f"The user at {settings.safe_url} is {_GUEST!r}, whose password everybody knows.",
            "Make a user for this service (rabbitmqctl add_user) and name it in the URL; "
            "RabbitMQ refuses guest from other machines unless told otherwise.",
        )


def _transient_queue_warnings() -> Iterator[CheckMessage]:
    for declaration in registry.declarations():
        if declaration.durable is False and not declaration.exclusive:
            yield _message(
                checks.Warning,
                "W004",
                f"The queue of {declaration.label} is not durable: a restart of the broker loses "
                "it, with its events.",
                "Leave out durable=False, or silence this if its events may be lost.",
                declaration.place,
            )


def _service_warnings() -> Iterator[CheckMessage]:
    unnamed = [each for each in registry.declarations() if each.name is None]
    service = conf.service()
    if unnamed and service in _COMMON_NAMES and not conf.names_service():
        yield _message(
            checks.Warning,
            "W005",
            f"The default names of {len(unnamed)} handlers begin with {service!r}, as those of "
            "another service may: handlers with equal names would take each other's events.",
            f'Name the service: {conf.SETTING} = {{"URL": ..., "SERVICE": "<its name>"}}.',
        )


def _readable_settings() -> Settings | None:
    try:
        return conf.current()
    except conf.InvalidSettings:
        return None


def _is_loopback(host: str | None) -> bool:
    if not host or host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _message(
    kind: Callable[..., CheckMessage], code: str, message: str, hint: str, place: str | None = None
) -> CheckMessage:
    return kind(message, hint=hint, obj=place, id=f"domain_event_broker.{code}")
