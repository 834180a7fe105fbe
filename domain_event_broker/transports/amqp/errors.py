"""pika's errors, translated into ours in this one place."""

from __future__ import annotations

import pika.exceptions

from ...errors import (
    AccessRefused,
    BrokerUnavailable,
    DomainEventBrokerError,
    EventTooLarge,
    LimitReached,
    TopologyMismatch,
    TransportClosed,
)
from ...settings import Settings
from .tls import logs_in_by_certificate
from .tls_errors import is_about_tls, tls_failure

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
    if _is_about_login(error):
        return _translate_login(error, settings)
    if isinstance(
        error,
        pika.exceptions.ProbableAccessDeniedError | pika.exceptions.ConnectionClosedByBroker,
    ) and (_names(error, NOT_ALLOWED) or _names(error, ACCESS_REFUSED)):
        if " limit" in str(error):
            return LimitReached(
                f"{where} allows no more connections or channels: {describe(error)}. Raise the "
                "limit, or have fewer processes, or fewer handlers in each; it is tried again."
            )
        return AccessRefused(
            f"{where} refused the virtual host: it does not exist or the user may not use it."
        )
    if isinstance(
        error, pika.exceptions.ConnectionClosedByClient | pika.exceptions.ChannelClosedByClient
    ):
        return TransportClosed("It was closed from here.")
    if isinstance(error, pika.exceptions.NoFreeChannels):
        return LimitReached(
            f"{where} allows no more channels on one connection (channel_max), and each handler "
            "takes one. Run fewer handlers in one process, or raise the limit and start anew."
        )
    return tls_failure(error, settings) or BrokerUnavailable(
        f"No connection to {where}: {describe(error)}"
    )


def _is_about_login(error: BaseException | None) -> bool:
    if isinstance(error, pika.exceptions.ProbableAuthenticationError):
        return _names(error, ACCESS_REFUSED)
    return isinstance(error, pika.exceptions.AuthenticationError)


def _translate_login(error: BaseException | None, settings: Settings) -> AccessRefused:
    where = settings.safe_url
    is_offered = not isinstance(error, pika.exceptions.AuthenticationError)
    if logs_in_by_certificate(settings):
        return AccessRefused(
            f"{where} has no user that the client certificate names. Make one there (rabbitmqctl "
            "add_user), or name a user in URL."
            if is_offered
            else f"{where} takes no client certificate in place of a user. Enable its plugin "
            "rabbitmq_auth_mechanism_ssl and the mechanism EXTERNAL, or name a user in URL."
        )
    if is_offered:
        return AccessRefused(f"{where} refused the user name or password.")
    return AccessRefused(f"{where} offers no way to log in that is known here: {error}")


def _translate_channel_closure(
    error: pika.exceptions.ChannelClosedByBroker, settings: Settings
) -> DomainEventBrokerError:
    where = settings.safe_url
    if error.reply_code == ACCESS_REFUSED:
        return AccessRefused(
            f"{where} refused a permission: {error.reply_text}. Have it given to the user "
            "(rabbitmqctl set_permissions)."
        )
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
    if error.reply_code == PRECONDITION_FAILED and "queue limit" in error.reply_text:
        return LimitReached(
            f"{where} allows no more queues: {error.reply_text}. Raise the limit, or delete queues "
            "that nobody needs; it is tried again."
        )
    if is_consumer_timeout(error):
        return BrokerUnavailable(
            f"{where} takes back what was not acknowledged within its consumer_timeout: "
            f"{error.reply_text}. It comes again. Raise that timeout, or have handlers end sooner, "
            "or lower PREFETCH."
        )
    return BrokerUnavailable(f"{where} closed the channel: {error.reply_code} {error.reply_text}")


def is_consumer_timeout(error: BaseException | None) -> bool:
    """Whether the channel was closed since a delivery was not settled in time."""
    return (
        isinstance(error, pika.exceptions.ChannelClosedByBroker)
        and error.reply_code == PRECONDITION_FAILED
        and "delivery acknowledgement" in error.reply_text
    )


def is_missing_queue(error: BaseException | None, queue: str) -> bool:
    """Whether the channel was closed since there is no such queue.

    One whose node or leader is away is answered with the same code, and other words.
    """
    return (
        isinstance(error, pika.exceptions.ChannelClosedByBroker)
        and error.reply_code == NOT_FOUND
        and f"no queue '{queue}'" in error.reply_text
    )


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
            # One for each address of the host; the last may be one that nobody listens at.
            refusals = [each for each in map(_innermost, attempts) if is_about_tls(each)]
            inner = refusals[0] if refusals else attempts[-1]
        elif inner is None and error.args and isinstance(error.args[0], BaseException):
            inner = error.args[0]
        if not isinstance(inner, BaseException):
            return error
        error = inner
    return None
