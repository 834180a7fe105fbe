"""One validated, frozen settings object, and the default broker of this process.

``BROKER`` is what an empty ``connection_settings`` stands for. Assign to it as in 3.x; the Django
app keeps it equal to ``DOMAIN_EVENT_BROKER``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, fields, replace
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from .errors import SettingsError
from .names import MAX_KEY_BYTES, byte_length, delay_queue, is_encodable
from .tls import DEFAULT_TLS, Tls, effective_tls, tls_in_urls
from .wording import shown, unknown_key

#: A URL, a mapping of settings, or ``None`` for "no broker: publish nothing".
BrokerSetting = str | Mapping[str, Any] | None

#: Called with an error's text; returns what of it may be shown.
ScrubError = Callable[[str], str]
#: Called with an event's routing key and data; returns what of the data may be shown.
RedactPayload = Callable[[str, Any], Any]

LOCAL_RABBITMQ = "amqp://guest:guest@localhost:5672/%2F"

#: The default broker. It may be assigned to at any time; the next call reads it.
BROKER: BrokerSetting = LOCAL_RABBITMQ
#: The service's name where the settings name none: set by the Django app, else ``None``.
SERVICE: str | None = None

UNROUTABLE_POLICIES = ("ignore", "log", "raise")
TOPOLOGIES = ("current", "3.x")
QUEUE_TYPES = ("quorum", "classic")
EXCHANGE_TYPES = ("topic", "direct", "fanout", "headers")
#: The schemes of brokers that may be clusters, whose nodes are listed.
CLUSTER_SCHEMES = ("amqp", "amqps")
#: The longest TTL of a delay queue, 100 ms doubled 24 times, makes the longest derived name.
_LONGEST_SUFFIX = delay_queue("", 100 << 24)
_MAX_SECONDS = 30 * 24 * 3600
_MAX_RETENTION_DAYS = 36_500
#: A lease bounds how long the rows of a dead process wait for the next one.
MIN_LEASE_SECONDS, MAX_LEASE_SECONDS = 0.5, 15.0
# AMQP's heartbeat is an unsigned 16-bit number of seconds.
_MAX_HEARTBEAT_SECONDS = 65_535
#: AMQP's prefetch count is an unsigned 16-bit number; quorum queues are happiest far below it.
MAX_PREFETCH = 65_535


@dataclass(frozen=True, slots=True)
class Settings:
    """How to reach the broker and how to behave there. Immutable, hashable, shared by threads.

    Each field is documented in ``docs/reference/settings.md`` under its upper-case name. The URL
    may hold a password, so it is left out of the repr; use `safe_url` in messages. It is one
    string, or a tuple of those of a cluster's nodes; `urls` is always a tuple.
    """

    url: str | Sequence[str] = field(default=LOCAL_RABBITMQ, repr=False)
    tls: Tls = DEFAULT_TLS
    service: str | None = None
    exchange: str = "domain-events"
    exchange_type: str = "topic"
    queue_type: str = "quorum"
    topology: str = "current"
    publish_timeout_seconds: float = 5.0
    heartbeat_seconds: int = 20
    reconnect_delay_seconds: float = 1.0
    max_reconnect_delay_seconds: float = 30.0
    prefetch: int = 100
    crash_attempts: int = 5
    max_event_bytes: int = 1024 * 1024
    unroutable: str = "log"
    outbox: bool = True
    lease_seconds: float = 15.0
    version: str | None = None
    # A function of the project may be any object; its repr is none of ours to call.
    scrub_error: ScrubError | str | None = field(default=None, repr=False)
    redact_payload: RedactPayload | str | None = field(default=None, repr=False)
    dead_letter_retention_days: float | None = None
    dead_letter_retention_count: int | None = None

    def __post_init__(self) -> None:
        _check_urls(self.url)
        if not isinstance(self.url, str):
            # Hashable, and equal however it was written.
            object.__setattr__(self, "url", tuple(self.url) if len(self.url) > 1 else self.url[0])
        object.__setattr__(
            self, "tls", effective_tls(self.tls, self.scheme, tls_in_urls(self.urls))
        )
        _check_name("SERVICE", self.service, optional=True)
        _check_name("EXCHANGE", self.exchange)
        _check_exchange(self.exchange)
        _check_choice("EXCHANGE_TYPE", self.exchange_type, EXCHANGE_TYPES)
        _check_choice("QUEUE_TYPE", self.queue_type, QUEUE_TYPES)
        _check_choice("TOPOLOGY", self.topology, TOPOLOGIES)
        _check_choice("UNROUTABLE", self.unroutable, UNROUTABLE_POLICIES)
        _check_number("PUBLISH_TIMEOUT", self.publish_timeout_seconds, above=0)
        _check_integer("HEARTBEAT", self.heartbeat_seconds, 1, _MAX_HEARTBEAT_SECONDS)
        _check_number("RECONNECT_DELAY", self.reconnect_delay_seconds, above=0)
        _check_number("MAX_RECONNECT_DELAY", self.max_reconnect_delay_seconds, above=0)
        _check_integer("PREFETCH", self.prefetch, 1, MAX_PREFETCH)
        _check_integer("CRASH_ATTEMPTS", self.crash_attempts, 1, 500)
        _check_integer("MAX_EVENT_BYTES", self.max_event_bytes, 1, 128 * 1024 * 1024)
        _check_boolean("OUTBOX", self.outbox)
        _check_lease(self.lease_seconds)
        _check_name("VERSION", self.version, optional=True)
        _check_function("SCRUB_ERROR", self.scrub_error)
        _check_function("REDACT_PAYLOAD", self.redact_payload)
        _check_retention(self.dead_letter_retention_days, self.dead_letter_retention_count)
        if self.max_reconnect_delay_seconds < self.reconnect_delay_seconds:
            raise SettingsError("MAX_RECONNECT_DELAY must not be less than RECONNECT_DELAY.")

    @property
    def urls(self) -> tuple[str, ...]:
        """The URL of each node, in the order of the setting; mostly there is one."""
        return (self.url,) if isinstance(self.url, str) else tuple(self.url)

    @property
    def nodes(self) -> tuple[Settings, ...]:
        """For each node, these settings with its URL alone."""
        return tuple(replace(self, url=url) for url in self.urls)

    @property
    def safe_url(self) -> str:
        """The URL without user, password and query, or those of all nodes: for logs and errors."""
        return ", ".join(map(safe_url, self.urls))

    @property
    def scheme(self) -> str:
        return urlsplit(self.urls[0]).scheme.lower()

    def with_exchange(self, exchange: str, exchange_type: str) -> Settings:
        return replace(self, exchange=exchange, exchange_type=exchange_type)


#: Key of the ``DOMAIN_EVENT_BROKER`` mapping -> field. Units are in the field's name.
KEYS = {
    **{f.name.upper(): f.name for f in fields(Settings) if not f.name.endswith("_seconds")},
    **{
        f.name.removesuffix("_seconds").upper(): f.name
        for f in fields(Settings)
        if f.name.endswith("_seconds")
    },
}


def parse(setting: object) -> Settings | None:
    """Make `Settings` of a URL, a mapping or `Settings`; ``None`` stays ``None``.

    Raises `SettingsError`, which never quotes a password.
    """
    if setting is None or isinstance(setting, Settings):
        return setting
    if isinstance(setting, str):
        return Settings(url=setting, service=SERVICE)
    if isinstance(setting, Mapping):
        return _parse_mapping(setting)
    raise SettingsError(
        f"The broker must be given as a URL, a dict or None, not {type(setting).__name__}."
    )


def resolve(connection_settings: object = "") -> Settings | None:
    """Like `parse`, with ``''`` standing for the default `BROKER`, as in 3.x."""
    try:
        return _parse_cached(BROKER if _means_default(connection_settings) else connection_settings)
    except SettingsError as error:
        # Without the frames below: a debug page would show the URL among their variables.
        raise error.with_traceback(None)  # noqa: B904


def _means_default(connection_settings: object) -> bool:
    return isinstance(connection_settings, str) and connection_settings == ""


# The default is read at each publish and parsed once. A copy is compared, not the identity, so
# that a dict changed in place counts, or the list of nodes or the dict of TLS in it. No deeper: the
# project's functions may belong to objects that cannot be copied.
_last_parsed: tuple[object, str | None, Settings | None] | None = None


def _parse_cached(setting: object) -> Settings | None:
    global _last_parsed
    cached = _last_parsed
    if cached is not None and cached[1] == SERVICE and cached[0] == setting:
        return cached[2]
    settings = parse(setting)
    _last_parsed = (_copied(setting), SERVICE, settings)
    return settings


def _copied(setting: object) -> object:
    if not isinstance(setting, Mapping):
        return setting
    return {key: copy(v) if isinstance(v, list | dict) else v for key, v in setting.items()}


def _parse_mapping(mapping: Mapping[Any, Any]) -> Settings | None:
    for key in mapping:
        if key not in KEYS:
            raise SettingsError(unknown_key(key, KEYS))
    values = {KEYS[key]: value for key, value in mapping.items()}
    if values.get("url", LOCAL_RABBITMQ) is None:
        return None
    if values.get("service") is None:
        values["service"] = SERVICE
    return Settings(**values)


def safe_url(url: str) -> str:
    """`url` without what could be secret; never raises."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if ":" in host:
            host = f"[{host}]"
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(unreadable URL)"
    if not _has_authority(url, parts.scheme) or "@" in parts.path + parts.query + parts.fragment:
        return "(unreadable URL)"  # not split where the password ends
    return f"{parts.scheme}://{host}{port}{parts.path}"


def _has_authority(url: str, scheme: str) -> bool:
    return bool(scheme) and url[len(scheme) :].startswith("://")


def _check_urls(urls: object) -> None:
    if not isinstance(urls, list | tuple):
        _check_url(urls)
        return
    if not urls:
        raise SettingsError("URL is an empty list; it must hold the URL of each node, or be a URL.")
    for url in urls:
        _check_url(url)
    if len(urls) > 1:
        _check_nodes([urlsplit(url) for url in urls])


def _check_nodes(nodes: Sequence[SplitResult]) -> None:
    """Whether these can be the nodes of one cluster."""
    schemes = sorted({node.scheme.lower() for node in nodes})
    if len(schemes) > 1:
        raise SettingsError(
            f"URL lists nodes with the schemes {' and '.join(schemes)}; they must have the same."
        )
    if schemes[0] not in CLUSTER_SCHEMES:
        raise SettingsError(
            f"URL lists several nodes, which only {' and '.join(CLUSTER_SCHEMES)} can have; "
            f"{schemes[0]}:// takes one URL."
        )
    if len({unquote(node.path[1:]) or "/" for node in nodes}) > 1:
        raise SettingsError(
            "URL lists nodes with different virtual hosts; they must lead to the same queues."
        )


def _check_url(url: object) -> None:
    # Errors here must not quote the URL, nor chain an error that does.
    if not isinstance(url, str) or not url:
        raise SettingsError(
            "URL must be a non-empty string such as 'amqp://user:password@host/', or a list of "
            "those of a cluster's nodes."
        )
    if url != url.strip() or not url.isprintable():
        raise SettingsError("URL holds white space or control characters.")
    problem = None
    try:
        parts = urlsplit(url)
        _ = parts.port, parts.hostname
        parse_qs(parts.query, strict_parsing=bool(parts.query))
    except ValueError:
        problem = (
            "URL cannot be read. Percent-encode special characters of the user name and "
            "password ('/' is %2F, '#' is %23, '@' is %40, '%' is %25)."
        )
    else:
        if not _has_authority(url, parts.scheme):
            problem = "URL has no scheme; it must begin with one, such as 'amqp://'."
        elif "#" in url:
            problem = "URL holds a '#'. In a password, write %23."
        elif "@" in parts.path + parts.query:
            # Else the beginning of a password with a '/' or '?' in it would pass for a port.
            problem = (
                "URL holds an '@' behind its host. Write %40 there, and in a password "
                "%2F for '/' and %3F for '?'."
            )
    if problem:
        raise SettingsError(problem)


def _check_exchange(exchange: str) -> None:
    longest = byte_length(exchange + _LONGEST_SUFFIX)
    if longest > MAX_KEY_BYTES:
        raise SettingsError(f"EXCHANGE is {longest - MAX_KEY_BYTES} bytes too long.")
    if exchange.startswith("amq."):
        raise SettingsError("EXCHANGE must not begin with 'amq.', which RabbitMQ reserves.")


def _check_name(key: str, value: object, *, optional: bool = False) -> None:
    if value is None and optional:
        return
    if not isinstance(value, str) or not value or not is_encodable(value):
        raise SettingsError(f"{key} must be a non-empty string, not {shown(value)}.")
    if byte_length(value) > MAX_KEY_BYTES:
        raise SettingsError(f"{key} has {byte_length(value)} bytes; at most {MAX_KEY_BYTES} fit.")


def _check_choice(key: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingsError(f"{key} must be one of {', '.join(choices)}, not {shown(value)}.")


def _check_boolean(key: str, value: object) -> None:
    if not isinstance(value, bool):
        raise SettingsError(f"{key} must be True or False, not {shown(value)}.")


def _check_function(key: str, value: object) -> None:
    """A function, or the path of one, which is imported when it is first needed."""
    if value is None:
        return
    parts = value.split(".") if isinstance(value, str) else []
    is_path = len(parts) > 1 and all(part.isidentifier() for part in parts)
    if not (is_path or callable(value)):
        raise SettingsError(
            f"{key} must be a function or its dotted path such as 'shop.privacy.clean', "
            f"not {shown(value)}."
        )
    try:
        hash(value)
    except Exception:
        raise SettingsError(f"{key} has no hash; give a function.") from None


def _check_retention(days: object, count: object) -> None:
    if days is not None and (
        isinstance(days, bool)
        or not isinstance(days, int | float)
        or not 0 < days <= _MAX_RETENTION_DAYS
    ):
        raise SettingsError(
            f"DEAD_LETTER_RETENTION_DAYS must be a number above 0 and up to {_MAX_RETENTION_DAYS}, "
            f"or None, not {shown(days)}."
        )
    if count is not None:
        _check_integer("DEAD_LETTER_RETENTION_COUNT", count, 1, 2**31 - 1)


def _check_lease(value: object) -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not MIN_LEASE_SECONDS <= value <= MAX_LEASE_SECONDS  # NaN is not, either
    ):
        raise SettingsError(
            f"LEASE must be a number of seconds from {MIN_LEASE_SECONDS:g} to "
            f"{MAX_LEASE_SECONDS:g}, not {shown(value)}."
        )


def _check_number(key: str, value: object, *, above: float) -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not above < value <= _MAX_SECONDS  # NaN is not, either
    ):
        raise SettingsError(
            f"{key} must be a number of seconds above {above} and up to {_MAX_SECONDS} "
            f"(30 days), not {shown(value)}."
        )


def _check_integer(key: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise SettingsError(
            f"{key} must be a whole number from {least} to {most}, not {shown(value)}."
        )
