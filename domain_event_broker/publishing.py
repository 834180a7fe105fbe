"""`publish_domain_event`, `publish_domain_events` and `Publisher`: send and learn the outcome."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from . import settings as settings_module
from .encoding import encode, encode_raw
from .errors import (
    PublishUnconfirmed,
    TransportClosed,
    UnroutableEvent,
)
from .events import DomainEvent
from .messages import Message
from .retrying import backoff_seconds
from .settings import BrokerSetting, Settings
from .transports import transport_for
from .transports.base import Outcome, PublishResult

log = logging.getLogger(__name__)

#: What `publish_domain_event` accepts: ``''`` for the default broker, ``None`` for no broker.
ConnectionSettings = BrokerSetting | Settings

# Between two tries of a publish that the broker refused or whose connection broke.
_RESEND_BASE_SECONDS = 0.05
_RESEND_MAX_SECONDS = 1.0
# Routing keys of which "no queue is bound" was logged; a bound, not a cache.
_MAX_LOGGED_KEYS = 10_000


def publish_domain_event(
    routing_key: str,
    data: Any,
    domain_object_id: str | int | None = None,
    uuid_string: str | None = None,
    timestamp: float | None = None,
    connection_settings: ConnectionSettings = "",
) -> DomainEvent:
    """Publish a fact, and return it as an event.

    On the default broker of a Django project that has the app installed, the event is encoded now
    and published when the transaction commits. Otherwise, and with explicit
    `connection_settings`, it is published at once: the call returns when the broker has it.
    With ``None`` nothing is sent. Publishing again with the same `uuid_string` is safe.

    :param routing_key: ``<domain>.<event_type>``, dotted words, at most 255 bytes.
    :param data: a dict of JSON-serializable values; dates, decimals and UUIDs become strings.
    :param domain_object_id: what the event happened to.
    :param uuid_string: the event's identity; made up when left out.
    :param timestamp: seconds since the epoch (UTC); now when left out.
    :param connection_settings: a URL, a dict of settings, ``''`` for the default, or ``None``.

    Raises `InvalidEvent` or `EventTooLarge` before anything is sent; `BrokerUnavailable`,
    `PublishRefused` or `PublishUnconfirmed` when the broker has not confirmed within
    ``PUBLISH_TIMEOUT``; `UnroutableEvent` if the settings ask for it; `ConfigurationError`.
    Thread-safe, and safe after a fork.
    """
    event = DomainEvent(
        routing_key=routing_key,
        data=data,
        domain_object_id=domain_object_id,
        uuid_string=uuid_string,
        timestamp=timestamp,
    )
    for result in publish_domain_events([event], connection_settings):
        if result.error is not None:
            raise result.error
    return event


def publish_domain_events(
    events: Iterable[DomainEvent], connection_settings: ConnectionSettings = ""
) -> list[PublishResult]:
    """Publish many events in order, without waiting for each, and tell each one's outcome.

    The results are in the order of the events; an outcome that `publish_domain_event` would have
    raised an error for carries that error. All events are encoded before the first is sent:
    `InvalidEvent` and `EventTooLarge` are raised, and nothing was published.
    """
    if connection_settings == "":
        return _publish_to_default(list(events))
    return publish_now(list(events), settings_module.resolve(connection_settings))


def publish_now(events: Sequence[DomainEvent], settings: Settings | None) -> list[PublishResult]:
    """Publish at once to the broker of `settings`; do nothing if they are ``None``."""
    if settings is None:
        return [PublishResult(Outcome.SKIPPED)] * len(events)
    return send(encode_all(events, settings), settings)


def encode_all(events: Iterable[DomainEvent], settings: Settings) -> list[Message]:
    """Encode the events as they are now. Raises `InvalidEvent` or `EventTooLarge`."""
    return [
        encode(event, app_id=settings.service, max_event_bytes=settings.max_event_bytes)
        for event in events
    ]


def send(messages: Sequence[Message], settings: Settings) -> list[PublishResult]:
    """Send encoded events, again where the broker refused or the connection broke.

    Gives up ``PUBLISH_TIMEOUT`` seconds after the last confirm.
    """
    transport = transport_for(settings)
    results = [PublishResult(Outcome.UNKNOWN)] * len(messages)
    pending = list(range(len(messages)))
    deadline = time.monotonic() + settings.publish_timeout_seconds
    attempt = 0
    while pending:
        remaining_seconds = max(deadline - time.monotonic(), 0.0)
        answers = transport.publish([messages[i] for i in pending], remaining_seconds)
        for i, answer in zip(pending, answers, strict=True):
            results[i] = answer
        unsent = [i for i in pending if results[i].outcome in (Outcome.REFUSED, Outcome.UNKNOWN)]
        if len(unsent) < len(pending):
            deadline = time.monotonic() + settings.publish_timeout_seconds
            attempt = 0
        pending = unsent
        pause = backoff_seconds(attempt, _RESEND_BASE_SECONDS, _RESEND_MAX_SECONDS)
        if pending and time.monotonic() + pause >= deadline:
            break
        if pending:
            time.sleep(pause)
            attempt += 1
    return [judge(*pair, settings) for pair in zip(messages, results, strict=True)]


def judge(message: Message, result: PublishResult, settings: Settings) -> PublishResult:
    """A transport's result with the error that it means under `settings`, if it means one."""
    if result.outcome is Outcome.UNROUTABLE:
        return PublishResult(Outcome.UNROUTABLE, _unroutable(message, settings))
    if result.outcome is Outcome.CONFIRMED:
        _logged_keys.discard(message.routing_key)  # should its queues be gone later, say so
        return result
    if result.error is not None:
        return result
    return PublishResult(
        result.outcome,
        PublishUnconfirmed(
            f"The broker did not confirm the event {message.message_id} "
            f"({message.routing_key!r}) within {settings.publish_timeout_seconds:g} s."
        ),
    )


_logged_keys: set[str] = set()


def _unroutable(message: Message, settings: Settings) -> UnroutableEvent | None:
    if settings.unroutable == "raise":
        return UnroutableEvent(
            f"No queue is bound for {message.routing_key!r}: the event {message.message_id} "
            "reaches nobody. Start its subscriber once, or set UNROUTABLE to 'log' or 'ignore'."
        )
    if settings.unroutable == "log" and message.routing_key not in _logged_keys:
        if len(_logged_keys) < _MAX_LOGGED_KEYS:
            _logged_keys.add(message.routing_key)
        log.warning(
            "No queue is bound for %r: event %s reaches nobody. (Said once, until one is.)",
            message.routing_key,
            message.message_id,
        )
    return None


DefaultPublish = Callable[[Sequence[DomainEvent]], list[PublishResult]]


def _publish_to_process_default(events: Sequence[DomainEvent]) -> list[PublishResult]:
    return publish_now(events, settings_module.resolve())


_default_publish: DefaultPublish = _publish_to_process_default


def _publish_to_default(events: Sequence[DomainEvent]) -> list[PublishResult]:
    return _default_publish(events)


def set_default_publish(publish: DefaultPublish | None) -> None:
    """Replace what publishing to the default broker means; ``None`` restores the core's way.

    For integrations that know transactions, such as the Django app.
    """
    global _default_publish
    _default_publish = publish or _publish_to_process_default


class Publisher:
    """Publishes at once to one broker and exchange.

    All publishers of a process and broker share one connection, which opens with the first
    publish, mends itself, and closes at exit. Thread-safe. With ``connection_settings=None``
    nothing is ever sent.
    """

    def __init__(
        self,
        connection_settings: ConnectionSettings = "",
        exchange: str | None = None,
        exchange_type: str | None = None,
    ) -> None:
        self.settings = resolve_with_exchange(connection_settings, exchange, exchange_type)
        self._is_closed = False

    def publish(self, message: bytes | str, routing_key: str | None = None) -> None:
        """Publish a body that is encoded already, under `routing_key` or else the body's own.

        Blocks and raises as `publish_domain_event` does; `UnreadableEvent` if the body's own
        routing key is needed and cannot be read; `TransportClosed` after `disconnect`.
        """
        if self._is_closed:
            raise TransportClosed("This publisher was disconnected; call connect() first.")
        if self.settings is None:
            return
        encoded = encode_raw(
            message,
            routing_key,
            app_id=self.settings.service,
            max_event_bytes=self.settings.max_event_bytes,
        )
        (result,) = send([encoded], self.settings)
        if result.error is not None:
            raise result.error

    def connect(self) -> None:
        """Allow publishing again after `disconnect`. The connection opens with the next publish."""
        self._is_closed = False

    def disconnect(self) -> None:
        """Publish no more through this object. Others keep using the shared connection."""
        self._is_closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.disconnect()


def resolve_with_exchange(
    connection_settings: ConnectionSettings, exchange: str | None, exchange_type: str | None
) -> Settings | None:
    """Settings for `connection_settings`, with another exchange if one is named."""
    settings = settings_module.resolve(connection_settings)
    if settings is None:
        return None
    return settings.with_exchange(
        exchange or settings.exchange, exchange_type or settings.exchange_type
    )
