"""One delivery through its handler: read, run, decide, settle. Knows no transport and no Django."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from . import messages
from .context import handling
from .encoding import decode, integer_header, retries
from .errors import InvalidRetry, UnreadableEvent
from .events import DomainEvent, read_fields
from .messages import Message
from .retrying import MAX_DELAY_SECONDS, Retry, check_delay, may_retry
from .transports.base import Consumer, Delivery, Subscription

log = logging.getLogger(__name__)

Handler = Callable[[DomainEvent], Any]

_MAX_ERROR_MESSAGE_CHARACTERS = 1000
_MAX_ERROR_TYPE_CHARACTERS = 200
# The longest delay, and a day for clocks that differ.
_LONGEST_WAIT_MS = (MAX_DELAY_SECONDS + 24 * 3600) * 1000


class Ending(Enum):
    """How a delivery ended."""

    HANDLED = "handled"
    RETRIED = "retried"
    DEAD_LETTERED = "dead-lettered"
    DISCARDED = "discarded"
    #: It came back before its time and waits on; the handler was not called.
    POSTPONED = "postponed"
    #: A copy of what took effect before; the handler was not called.
    DUPLICATE = "duplicate"
    #: It was given back, since it could not be handled now through no fault of its own.
    RELEASED = "released"


class Reason(Enum):
    """Why an event was dead-lettered; the value stands in the header ``deb-reason``."""

    ERROR = "error"
    RETRIES_EXHAUSTED = "retries-exhausted"
    UNREADABLE = "unreadable"
    CRASHED = "crashed"


class AlreadyHandled(Exception):
    """What surrounds a handler raises this for an event that took effect before."""


class NotNow(Exception):
    """What surrounds a handler raises this to have the event delivered again, uncounted."""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a delivery, for those who watch. Holds no payload but the error's own."""

    handler: str
    event_id: str | None
    routing_key: str
    ending: Ending
    retries: int = 0
    delay_seconds: float | None = None
    reason: Reason | None = None
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Registration:
    """A handler with its subscription and its limits."""

    handler: Handler
    subscription: Subscription
    max_retries: int
    crash_attempts: int

    def process(self, delivery: Delivery, consumer: Consumer) -> Report:
        """Handle `delivery` and settle it. Raises nothing that the handler or the event cause."""
        if delivery.crashes >= self.crash_attempts:
            return self._fail(
                delivery,
                consumer,
                Reason.CRASHED,
                CrashedRepeatedly(
                    f"{delivery.crashes} deliveries ended without an outcome: "
                    "the process that handled it died, or lost its connection"
                ),
            )
        due_at_ms = integer_header(delivery.message.headers, messages.DUE_AT_MS)
        # A time that no retry of ours can have is somebody's nonsense, and no reason to wait.
        if 0 < due_at_ms - now_ms() <= _LONGEST_WAIT_MS:
            message = with_headers(delivery.message, {}, delivery.message.message_id)
            consumer.retry(delivery, message, due_at_ms)
            return self._report(delivery, Ending.POSTPONED)
        try:
            event = decode(delivery.message)
        except UnreadableEvent as error:
            return self._fail(delivery, consumer, Reason.UNREADABLE, error)
        return self._run(event, delivery, consumer)

    def _run(self, event: DomainEvent, delivery: Delivery, consumer: Consumer) -> Report:
        identity = event.uuid_string  # the handler is free to change its event
        try:
            with handling(identity, delivery.message.correlation_id or identity):
                self.handler(event)
        except AlreadyHandled:
            consumer.ack(delivery)
            return self._report(delivery, Ending.DUPLICATE)
        except NotNow:
            consumer.release(delivery)
            return self._report(delivery, Ending.RELEASED)
        except Retry as error:
            return self._retry(identity, error, delivery, consumer)
        except BaseException as error:  # a handler that calls sys.exit() must not end the consumer
            return self._fail(delivery, consumer, Reason.ERROR, error)
        consumer.ack(delivery)
        return self._report(delivery, Ending.HANDLED)

    def _retry(self, identity: str, error: Retry, delivery: Delivery, consumer: Consumer) -> Report:
        try:
            # A subclass need not have called Retry's own __init__.
            delay_seconds = check_delay(getattr(error, "delay", None))
        except InvalidRetry as invalid:
            return self._fail(delivery, consumer, Reason.ERROR, invalid)
        tried = retries(delivery.message.headers)
        if not may_retry(tried, self.max_retries):
            return self._fail(delivery, consumer, Reason.RETRIES_EXHAUSTED, error)
        due_at_ms = _due_at_ms(delay_seconds)
        changes = {messages.RETRIES: tried + 1, messages.DUE_AT_MS: due_at_ms}
        message = with_headers(delivery.message, changes, message_id=identity)
        consumer.retry(delivery, message, due_at_ms)
        report = self._report(
            delivery, Ending.RETRIED, delay_seconds=delay_seconds, error=_told_by(error)
        )
        log.info(
            "%s: retry %d of %d in %.3f s of event %s (%r)",
            self.subscription.name,
            tried + 1,
            self.max_retries,
            delay_seconds,
            report.event_id,
            report.routing_key,
        )
        return report

    def _fail(
        self, delivery: Delivery, consumer: Consumer, reason: Reason, error: BaseException
    ) -> Report:
        if self.subscription.dead_letter:
            consumer.dead_letter(delivery, self._with_story(delivery.message, reason, error))
            ending = Ending.DEAD_LETTERED
        else:
            consumer.ack(delivery)
            ending = Ending.DISCARDED
        report = self._report(delivery, ending, reason=reason, error=_told_by(error))
        log.error(
            "%s: event %s (%r) was %s: %s",
            self.subscription.name,
            report.event_id,
            report.routing_key,
            ending.value,
            reason.value,
            exc_info=(type(error), error, error.__traceback__),
        )
        return report

    def _with_story(self, message: Message, reason: Reason, error: BaseException) -> Message:
        told = _told_by(error)
        return with_headers(
            message,
            {
                messages.REASON: reason.value,
                messages.ERROR_TYPE: _type_name(told),
                messages.ERROR_MESSAGE: _text(told),
                messages.HANDLER: self.subscription.name,
                messages.FAILED_AT_MS: now_ms(),
            },
            message_id=message.message_id,
        )

    def _report(self, delivery: Delivery, ending: Ending, **details: Any) -> Report:
        return Report(
            handler=self.subscription.name,
            event_id=event_id(delivery.message),
            routing_key=delivery.message.routing_key,
            ending=ending,
            retries=integer_header(delivery.message.headers, messages.RETRIES),
            **details,
        )


class CrashedRepeatedly(Exception):
    """The reason of a dead letter whose handling never came to an end."""


def event_id(message: Message) -> str | None:
    """The id for logs and reports: that of the property, else what the body says.

    A client may have made it of anything; line breaks are shown, not written.
    """
    identity: str | None = message.message_id
    if not identity:
        try:
            identity = read_fields(message.body).get("uuid_string")
        except UnreadableEvent:
            return None
    return identity if identity is None or identity.isprintable() else repr(identity)


def with_headers(message: Message, changes: Mapping[str, Any], message_id: str | None) -> Message:
    """A copy of `message` to be sent to one queue: without the broker's own headers."""
    headers = {key: value for key, value in message.headers.items() if not _is_brokers(key)}
    headers[messages.ROUTING_KEY] = message.routing_key
    return replace(message, headers={**headers, **changes}, message_id=message_id)


def restarted(message: Message) -> Message:
    """A copy of a dead letter that starts anew: same id and body, no attempts, no story."""
    kept = {k: v for k, v in message.headers.items() if k not in messages.DELIVERY_HEADERS}
    return with_headers(replace(message, headers=kept), {}, message.message_id)


def _is_brokers(header: str | bytes) -> bool:
    # x-death is RabbitMQ's account of dead-lettering, and crashes queues when it is malformed.
    # CC and BCC would send the copy to other queues. A foreign name need not be UTF-8.
    name = header.decode("utf-8", "replace") if isinstance(header, bytes) else header
    return name.lower().startswith("x-") or name in ("CC", "BCC")


def _due_at_ms(delay_seconds: float) -> int:
    # Rounded up, so that no delay is cut short; but now is now.
    return math.ceil((time.time() + delay_seconds) * 1000) if delay_seconds else now_ms()


def now_ms() -> int:
    """Milliseconds since the epoch: the clock of ``due-at``, shared between machines."""
    return time.time_ns() // 1_000_000


def _told_by(error: BaseException) -> BaseException:
    """The error to name: for a plain `Retry`, which says nothing but when, what it arose from."""
    if type(error) is not Retry:
        return error
    behind = error.__cause__ if error.__suppress_context__ else error.__context__
    return behind or error


def _type_name(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ != "builtins":
        name = f"{kind.__module__}.{name}"
    return _sendable(name[:_MAX_ERROR_TYPE_CHARACTERS])


def _text(error: BaseException) -> str:
    try:
        text = str(error)
    except BaseException as failure:
        text = f"(its message cannot be shown: {type(failure).__name__})"
    return _sendable(text[:_MAX_ERROR_MESSAGE_CHARACTERS])


def _sendable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
