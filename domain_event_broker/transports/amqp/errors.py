"""pika's errors, translated into ours in this one place."""

from __future__ import annotations

import pika.exceptions

from ...errors import (
    AccessRefused,
    BrokerUnavailable,
    DomainEventBrokerError,
    EventTooLarge,
    TopologyMismatch,
    TransportClosed,
)
from ...settings import Settings

# AMQP 0-9-1 reply codes, https://www.rabbitmq.com/amqp-0-9-1-reference#constants
ACCESS_REFUSED = 403
NOT_FOUND = 404
RESOURCE_LOCKED = 405
PRECONDITION_FAILED = 406
NOT_ALLOWED = 530


def translate(error: BaseException | None, settings: Settings) -> DomainEventBrokerError:
    """Our error for one of pika's, with it as its ``__cause__``; ours are returned as they are."""
    if isinstance(error, DomainEventBrokerError):
        return error
    cause = _innermost(error)
    translated = _translate(cause, settings)
    translated.__cause__ = cause
    return translated


def _translate(error: BaseException | None, settings: Settings) -> DomainEventBrokerError:
    where = settings.safe_url
    if isinstance(error, pika.exceptions.ChannelClosedByBroker):
        return _translate_channel_closure(error, settings)
    if isinstance(error, pika.exceptions.ProbableAuthenticationError) and _names(
        error, ACCESS_REFUSED
    ):
        return AccessRefused(f"{where} refused the user name or password.")
    if isinstance(
        error,
        pika.exceptions.ProbableAccessDeniedError | pika.exceptions.ConnectionClosedByBroker,
    ) and (_names(error, NOT_ALLOWED) or _names(error, ACCESS_REFUSED)):
        return AccessRefused(
            f"{where} refused the virtual host: it does not exist or the user may not use it."
        )
    if isinstance(
        error, pika.exceptions.ConnectionClosedByClient | pika.exceptions.ChannelClosedByClient
    ):
        return TransportClosed("It was closed from here.")
    if isinstance(error, pika.exceptions.AuthenticationError):
        return AccessRefused(f"{where} offers no way to log in that is known here: {error}")
    return BrokerUnavailable(f"No connection to {where}: {describe(error)}")


def _translate_channel_closure(
    error: pika.exceptions.ChannelClosedByBroker, settings: Settings
) -> DomainEventBrokerError:
    where = settings.safe_url
    if error.reply_code == ACCESS_REFUSED:
        return AccessRefused(f"{where} refused a permission: {error.reply_text}")
    if error.reply_code == RESOURCE_LOCKED:
        return TopologyMismatch(
            f"{error.reply_text}. It is held by another connection exclusively; "
            "stop that one or choose another name."
        )
    if error.reply_code == PRECONDITION_FAILED and _is_about_declaring(error.reply_text):
        as_in_3x = (
            "give dead_letter as it does" if settings.topology == "3.x" else "set TOPOLOGY to '3.x'"
        )
        return TopologyMismatch(
            f"{error.reply_text}. It is never changed or deleted from here: remove it by hand "
            f"once it is empty, choose another name, or (for a queue of a 3.x service) {as_in_3x}."
        )
    if error.reply_code == PRECONDITION_FAILED and "message size" in error.reply_text:
        return EventTooLarge(f"{where} takes no message of that size: {error.reply_text}")
    return BrokerUnavailable(f"{where} closed the channel: {error.reply_code} {error.reply_text}")


def is_missing_exchange(error: BaseException | None, exchange: str) -> bool:
    """Whether the channel was closed since there is no such exchange: nothing got through it."""
    while error is not None:
        if isinstance(error, pika.exceptions.ChannelClosedByBroker):
            is_missing = f"no exchange '{exchange}'" in error.reply_text
            return error.reply_code == NOT_FOUND and is_missing
        error = error.__cause__
    return False


def _is_about_declaring(reply_text: str) -> bool:
    # The same code ends a channel whose deliveries were not settled within consumer_timeout.
    return " for queue " in reply_text or " for exchange " in reply_text


def describe(error: BaseException | None) -> str:
    """One line that says what broke; never a URL."""
    if error is None:
        return "closed"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _names(error: BaseException, reply_code: int) -> bool:
    # pika guesses "probable" errors from the state, also where the stream just broke; only the
    # broker's own reply code, which it keeps in the text, says that the answer is final.
    return f"({reply_code}" in str(error) or getattr(error, "reply_code", None) == reply_code


def _innermost(error: BaseException | None) -> BaseException | None:
    """Out of the wrappers of pika's connection workflow."""
    while error is not None:
        inner: object = getattr(error, "exception", None)
        attempts = getattr(error, "exceptions", None)
        if attempts:
            inner = attempts[-1]
        elif inner is None and error.args and isinstance(error.args[0], BaseException):
            inner = error.args[0]
        if not isinstance(inner, BaseException):
            return error
        error = inner
    return None
