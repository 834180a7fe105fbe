"""Which exchanges and queues there are, and how they are declared.

Arguments depend on nothing but the settings that name them, and are the same for every RabbitMQ
release: an upgraded broker, or a changed handler, must accept what was declared before.
Declarations are sent without waiting for each (``nowait``); the caller waits for one answer after
them all, and a refused one closes the channel with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pika.channel import Channel

from ... import names
from ...settings import Settings
from ..base import Subscription
from .tiers import TIERS_MS

#: Header, and binding argument, that chooses the delay queue.
TIER_HEADER = "deb-tier"

# Only a net: the subscriber dead-letters a poison after CRASH_ATTEMPTS, far earlier. Stated since
# RabbitMQ 4 defaults to 20, and drops what exceeds it.
_DELIVERY_LIMIT = 1_000
# Before RabbitMQ 4.3 each look at a dead letter, or an orphan, counts as a delivery; none may expel
# it.
_LOOKED_AT_DELIVERY_LIMIT = 1_000_000_000

Arguments = dict[str, Any]

_LOOKED_AT: Arguments = {"x-queue-type": "quorum", "x-delivery-limit": _LOOKED_AT_DELIVERY_LIMIT}


def declare_exchange(channel: Channel, settings: Settings) -> None:
    """The exchange that events are published to, as 3.x declares it."""
    channel.exchange_declare(
        settings.exchange, exchange_type=settings.exchange_type, durable=True, auto_delete=False
    )


def declare_shared(channel: Channel, settings: Settings, *, delays: bool) -> None:
    """What all handlers share; with `delays`, the delay queues, too."""
    declare_exchange(channel, settings)
    _declare_returns(channel, settings)
    if delays:
        _declare_delays(channel, settings)


def declare_queues(
    channel: Channel, settings: Settings, subscription: Subscription, on_done: Callable[[Any], None]
) -> None:
    """The queues of one handler; `on_done` is called with the broker's answer for the last."""
    if settings.topology == "3.x":
        _declare_legacy(channel, settings, subscription)
    elif subscription.dead_letter:
        channel.queue_declare(
            names.dead_letter_queue(subscription.name),
            durable=True,
            arguments=_dead_letter_arguments(settings),
        )
    channel.queue_declare(
        subscription.name,
        durable=subscription.durable,
        exclusive=subscription.exclusive,
        auto_delete=subscription.auto_delete,
        arguments=_queue_arguments(settings, subscription),
        callback=on_done,
    )


def bind_subscription(channel: Channel, settings: Settings, subscription: Subscription) -> None:
    """Bind the handler's queue to all that it gets events from."""
    _bind(channel, subscription.name, settings.exchange, subscription.binding_keys)
    _bind(
        channel,
        subscription.name,
        names.requeue_exchange(settings.exchange),
        [subscription.name],
    )
    if settings.topology == "3.x":
        retry_exchange = names.legacy_retry_exchange(subscription.name)
        _bind(channel, subscription.name, retry_exchange, _legacy_keys(subscription))


def _bind(channel: Channel, queue: str, exchange: str, keys: Iterable[str]) -> None:
    for key in keys:
        channel.queue_bind(queue, exchange, routing_key=key)


def _queue_arguments(settings: Settings, subscription: Subscription) -> Arguments:
    if settings.topology == "3.x":
        if not subscription.dead_letter:
            return {}
        return {"x-dead-letter-exchange": names.legacy_dead_letter_exchange(subscription.name)}
    # Only a durable, shared, lasting queue can be a quorum queue.
    if settings.queue_type == "classic" or not (subscription.is_lasting and subscription.durable):
        return {"x-queue-type": "classic"}
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": _DELIVERY_LIMIT,
        # The same with and without dead letters, so that a handler may change its mind.
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": names.dead_letter_queue(subscription.name),
    }


def _dead_letter_arguments(settings: Settings) -> Arguments:
    return {"x-queue-type": "classic"} if settings.queue_type == "classic" else _LOOKED_AT


def _declare_returns(channel: Channel, settings: Settings) -> None:
    """Where delayed events return to one handler, and what keeps those whose handler is gone.

    Without the alternate exchange, some thirty of those stall a delay queue for everybody: its
    dead-lettering waits for their confirms.
    """
    orphans = names.orphans(settings.exchange)
    channel.exchange_declare(orphans, exchange_type="fanout", durable=True)
    channel.queue_declare(orphans, durable=True, arguments=_LOOKED_AT)
    channel.queue_bind(orphans, orphans, routing_key="")
    channel.exchange_declare(
        names.requeue_exchange(settings.exchange),
        exchange_type="direct",
        durable=True,
        arguments={"alternate-exchange": orphans},
    )


def _declare_delays(channel: Channel, settings: Settings) -> None:
    exchange = names.delay_exchange(settings.exchange)
    channel.exchange_declare(exchange, exchange_type="headers", durable=True)
    for tier in TIERS_MS:
        queue = names.delay_queue(settings.exchange, tier)
        channel.queue_declare(
            queue,
            durable=True,
            arguments={
                "x-queue-type": "quorum",
                "x-message-ttl": tier,
                "x-dead-letter-exchange": names.requeue_exchange(settings.exchange),
                "x-dead-letter-strategy": "at-least-once",
                # What at-least-once requires: https://www.rabbitmq.com/docs/quorum-queues
                "x-overflow": "reject-publish",
            },
        )
        channel.queue_bind(
            queue, exchange, routing_key="", arguments={"x-match": "all", TIER_HEADER: str(tier)}
        )


def _declare_legacy(channel: Channel, settings: Settings, subscription: Subscription) -> None:
    """What 3.x declares beside a handler's queue, down to exchanges that are not durable.

    3.x's own retries, dead letters and replays need them; ours survive their loss.
    """
    if subscription.dead_letter:
        dead_letters = names.dead_letter_queue(subscription.name)
        exchange = names.legacy_dead_letter_exchange(subscription.name)
        channel.exchange_declare(exchange, exchange_type=settings.exchange_type)
        channel.queue_declare(dead_letters, durable=True)
        _bind(channel, dead_letters, exchange, _legacy_keys(subscription))
    retry_exchange = names.legacy_retry_exchange(subscription.name)
    channel.exchange_declare(retry_exchange, exchange_type=settings.exchange_type)


def _legacy_keys(subscription: Subscription) -> tuple[str, ...]:
    """What 3.x's exchanges for one handler are bound by, and two keys more.

    What we retried, replayed or dead-lettered has the name of a queue as its routing key, and
    3.x would lose it when it retries, rejects or replays it in turn.
    """
    dead_letters = names.dead_letter_queue(subscription.name)
    return (*subscription.binding_keys, subscription.name, dead_letters)
