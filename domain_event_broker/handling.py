"""One delivery through its handler: read, run, decide, settle. Knows no transport and no Django."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import Enum
from typing import Any

from . import messages
from .context import handling
from .encoding import decode, integer_header, retries
from .errors import InvalidRetry, UnreadableEvent
from .events import DomainEvent, read_fields
from .messages import Message
from .retrying import MAX_DELAY_SECONDS, Backoff, Retry, check_delay, may_retry
from .settings import Settings
from .stories import Failure, first_failed_at_ms, story_of, with_story
from .transports.base import Consumer, Delivery, Subscription
from .values import value

log = logging.getLogger(__name__)

Handler = Callable[[DomainEvent], Any]

# The longest delay, and a day for clocks that differ.
_LONGEST_WAIT_MS = (MAX_DELAY_SECONDS + 24 * 3600) * 1000
_ENDED = "%s: event %s (%r) was %s: %s"
_ENDED_WITH_TEXT = f"{_ENDED}\n%s"


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
    GAVE_UP = "gave-up"
    UNREADABLE = "unreadable"
    CRASHED = "crashed"


class AlreadyHandled(Exception):
    """What surrounds a handler raises this for an event that took effect before."""


class NotNow(Exception):
    """What surrounds a handler raises this to have the event delivered again, uncounted."""


@value
class Report:
    """What became of a delivery, for those who watch. Holds no payload but the error's own.

    `error_message` is the error's text as ``SCRUB_ERROR`` leaves it, at most 1,000 characters: what
    is to be shown of it.
    """

    handler: str
    event_id: str | None
    routing_key: str
    ending: Ending
    retries: int = 0
    delay_seconds: float | None = None
    reason: Reason | None = None
    error: BaseException | None = None
    error_message: str | None = None


@value
class Registration:
    """A handler with its subscription and its limits."""

    handler: Handler
    subscription: Subscription
    settings: Settings
    #: Whatever a retry is for: those that a handler asks for, and those of `backoff`.
    max_retries: int = 0
    backoff: Backoff | None = None

    def process(self, delivery: Delivery, consumer: Consumer) -> Report:
        """Handle `delivery` and settle it. Raises nothing that the handler or the event cause."""
        if delivery.crashes >= self.settings.crash_attempts:
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
            return self._retry_as_asked(identity, error, delivery, consumer)
        except BaseException as error:  # a handler that calls sys.exit() must not end the consumer
            return self._retry_or_fail(identity, error, delivery, consumer)
        consumer.ack(delivery)
        return self._report(delivery, Ending.HANDLED)

    def _retry_as_asked(
        self, identity: str, error: Retry, delivery: Delivery, consumer: Consumer
    ) -> Report:
        try:
            # A subclass need not have called Retry's own __init__.
            delay_seconds = check_delay(getattr(error, "delay", None))
        except InvalidRetry as invalid:
            return self._retry_or_fail(identity, invalid, delivery, consumer)
        return self._retry(identity, error, delay_seconds, delivery, consumer)

    def _retry_or_fail(
        self, identity: str, error: BaseException, delivery: Delivery, consumer: Consumer
    ) -> Report:
        backoff = self.backoff
        if backoff is not None and backoff.gives_up(error):
            return self._fail(delivery, consumer, Reason.GAVE_UP, error)
        if backoff is None or not backoff.wants(error):
            return self._fail(delivery, consumer, Reason.ERROR, error)
        delay_seconds = backoff.delay_seconds(retries(delivery.message.headers) + 1)
        return self._retry(identity, error, delay_seconds, delivery, consumer)

    def _retry(
        self,
        identity: str,
        error: BaseException,
        delay_seconds: float,
        delivery: Delivery,
        consumer: Consumer,
    ) -> Report:
        headers = delivery.message.headers
        tried = retries(headers)
        if not may_retry(tried, self.max_retries):
            return self._fail(delivery, consumer, Reason.RETRIES_EXHAUSTED, error)
        due_at_ms = _due_at_ms(delay_seconds)
        changes = {
            messages.RETRIES: tried + 1,
            messages.DUE_AT_MS: due_at_ms,
            messages.FIRST_FAILED_AT_MS: first_failed_at_ms(headers, now_ms()),
        }
        message = with_headers(delivery.message, changes, message_id=identity)
        consumer.retry(delivery, message, due_at_ms)
        failure = Failure(error, self.settings)
        report = self._report(delivery, Ending.RETRIED, failure, delay_seconds=delay_seconds)
        log.info(
            "%s: retry %d of %d in %.3f s of event %s (%r) after %s",
            self.subscription.name,
            tried + 1,
            self.max_retries,
            delay_seconds,
            report.event_id,
            report.routing_key,
            failure.type_name,  # its text may quote the event
        )
        return report

    def _fail(
        self, delivery: Delivery, consumer: Consumer, reason: Reason, error: BaseException
    ) -> Report:
        failure = Failure(error, self.settings)
        if self.subscription.dead_letter:
            consumer.dead_letter(delivery, self._with_story(delivery, reason, failure))
            ending = Ending.DEAD_LETTERED
        else:
            consumer.ack(delivery)
            ending = Ending.DISCARDED
        report = self._report(delivery, ending, failure, reason=reason)
        self._log_end(report, reason, failure)
        return report

    def _log_end(self, report: Report, reason: Reason, failure: Failure) -> None:
        told = [report.handler, report.event_id, report.routing_key]
        told += [report.ending.value, reason.value]
        if self.settings.scrub_error is None:
            error = failure.raised
            log.error(_ENDED, *told, exc_info=(type(error), error, error.__traceback__))
        else:
            # Not as exc_info, which is written, and sent to error trackers, as it was raised.
            log.error(_ENDED_WITH_TEXT, *told, failure.text)

    def _with_story(self, delivery: Delivery, reason: Reason, failure: Failure) -> Message:
        message = with_headers(delivery.message, {}, message_id=delivery.message.message_id)
        failed_at_ms = now_ms()
        story = story_of(
            failure,
            self.settings,
            reason=reason.value,
            handler=self.subscription.name,
            attempts=_attempts(delivery, reason),
            first_failed_at_ms=first_failed_at_ms(message.headers, failed_at_ms),
            failed_at_ms=failed_at_ms,
        )
        return replace(message, headers=with_story(message.headers, story))

    def _report(
        self, delivery: Delivery, ending: Ending, failure: Failure | None = None, **details: Any
    ) -> Report:
        return Report(
            handler=self.subscription.name,
            event_id=event_id(delivery.message),
            routing_key=delivery.message.routing_key,
            ending=ending,
            retries=retries(delivery.message.headers),
            error=failure.error if failure else None,
            error_message=failure.message if failure else None,
            **details,
        )


class CrashedRepeatedly(Exception):
    """The reason of a dead letter whose handling never came to an end."""


def _attempts(delivery: Delivery, reason: Reason) -> int:
    """How often the handler was called for it."""
    if reason is Reason.UNREADABLE:
        return 0
    return retries(delivery.message.headers) + (delivery.crashes if reason is Reason.CRASHED else 1)


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
