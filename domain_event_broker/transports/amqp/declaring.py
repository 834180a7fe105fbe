"""Declaring what is needed, as far as the broker lets us.

To declare, even what is there, takes the permission to configure it. Where that is refused,
somebody else has to declare: then we look whether it is there, and go on.
"""

from __future__ import annotations

import logging
from enum import Enum
from typing import Any

import pika.exceptions
from pika.channel import Channel

from ... import names
from ...errors import AccessRefused
from ...settings import Settings
from ..base import Subscription
from .errors import ACCESS_REFUSED, NOT_FOUND, is_missing_exchange
from .topology import bind_subscription, declare_exchange, declare_queues, declare_shared

log = logging.getLogger(__name__)


class Way(Enum):
    """How it is seen to that something is there; where one is refused, the next is gone."""

    DECLARE = "declare"
    LOOK = "look"
    #: From RabbitMQ 4.3 on even a look takes a permission, of any kind.
    TRUST = "trust"

    @property
    def next(self) -> Way:
        return Way.LOOK if self is Way.DECLARE else Way.TRUST


class ExchangeDeclaration:
    """Declares the exchange for who publishes to it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget what was refused: the permission may have been given since."""
        self._way = Way.DECLARE
        self._refusal = ""

    def send(self, channel: Channel) -> None:
        """Declare, or look; a refusal closes the channel."""
        if self._way is Way.DECLARE:
            declare_exchange(channel, self._settings)
        elif self._way is Way.LOOK:
            channel.exchange_declare(self._settings.exchange, passive=True)

    def learns_from(self, reason: BaseException) -> bool:
        """Whether the channel was closed for something that may be left to others."""
        if not _is_refusal(reason) or self._way is Way.TRUST:
            return False
        self._way, self._refusal = self._way.next, _text(reason)
        return True

    def explain(self, reason: BaseException, node: Settings) -> AccessRefused | None:
        """What is missing, where it was looked for and is not ours to declare."""
        is_looking = self._way is Way.LOOK
        if is_looking and is_missing_exchange(reason, self._settings.exchange):
            return _missing(reason, node, self._refusal)
        return None


class Declaration:
    """Declares for one subscription.

    What all handlers share and what this one has of its own may be granted apart.
    """

    def __init__(self, settings: Settings, subscription: Subscription) -> None:
        self._settings = settings
        self._subscription = subscription
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget what was refused: the permission may have been given since."""
        self._shared = self._own = Way.DECLARE
        self._are_queues_there = False
        self._refusal = ""

    @property
    def is_ours(self) -> bool:
        """Whether all of it is ours to declare."""
        return self._shared is self._own is Way.DECLARE

    def send(self, channel: Channel, *, delays: bool) -> None:
        """Declare and bind, or look; a refusal closes the channel."""
        self._are_queues_there = False
        if self._shared is Way.DECLARE:
            declare_shared(channel, self._settings, delays=delays)
        elif self._shared is Way.LOOK:
            for exchange in self._exchanges(delays=delays):
                channel.exchange_declare(exchange, passive=True)
        if self._own is Way.DECLARE:
            declare_queues(channel, self._settings, self._subscription, self._on_queues)
            bind_subscription(channel, self._settings, self._subscription)
        elif self._own is Way.LOOK:
            for queue in self._queues:
                channel.queue_declare(queue, passive=True)

    def bind(self, channel: Channel) -> None:
        """Bind again what is ours to bind; harmless where it is bound."""
        if self._shared is Way.DECLARE:
            declare_exchange(channel, self._settings)
        if self._own is Way.DECLARE:
            bind_subscription(channel, self._settings, self._subscription)

    def _on_queues(self, frame: Any) -> None:
        self._are_queues_there = True

    def learns_from(self, reason: BaseException) -> bool:
        """Whether the channel was closed for something that may be left to others.

        Bindings are not: whoever declares the queue binds it.
        """
        if not _is_refusal(reason) or self._are_queues_there:
            return False
        if self._is_about_shared(_text(reason)) and self._shared is not Way.TRUST:
            self._shared = self._shared.next
        elif self._own is not Way.TRUST:
            self._own = self._own.next
        else:
            return False
        self._refusal = _text(reason)
        log.debug("%s: left to others: %s", self._subscription.name, self._refusal)
        return True

    def explain(self, reason: BaseException, node: Settings) -> AccessRefused | None:
        """What is missing, where it was looked for and is not ours to declare."""
        if Way.LOOK in (self._shared, self._own):
            return _missing(reason, node, self._refusal)
        return None

    def _is_about_shared(self, text: str) -> bool:
        exchange = self._settings.exchange
        exchanges = [*self._exchanges(delays=True), names.orphans(exchange)]
        return (
            any(f"exchange '{each}'" in text for each in exchanges)
            or f"queue '{names.orphans(exchange)}'" in text
            or f"queue '{names.delay_exchange(exchange)}." in text
        )

    def _exchanges(self, *, delays: bool) -> list[str]:
        exchange = self._settings.exchange
        always = [exchange, names.requeue_exchange(exchange)]
        return [*always, names.delay_exchange(exchange)] if delays else always

    @property
    def _queues(self) -> list[str]:
        name = self._subscription.name
        if self._subscription.dead_letter:
            return [name, names.dead_letter_queue(name)]
        return [name]


def _is_refusal(reason: BaseException) -> bool:
    return (
        isinstance(reason, pika.exceptions.ChannelClosedByBroker)
        and reason.reply_code == ACCESS_REFUSED
    )


def _text(reason: BaseException) -> str:
    text: str = getattr(reason, "reply_text", "")
    return text


def _missing(reason: BaseException, node: Settings, refusal: str) -> AccessRefused | None:
    if not isinstance(reason, pika.exceptions.ChannelClosedByBroker):
        return None
    # The same code stands for a queue whose node or leader is away.
    if reason.reply_code != NOT_FOUND or " no " not in _text(reason):
        return None
    missing = AccessRefused(
        f"{node.safe_url} refused a permission: {refusal}. What is missing has to be declared by a "
        f"user who may configure it (manage.py declare_queues): {_text(reason)}."
    )
    missing.__cause__ = reason
    return missing
