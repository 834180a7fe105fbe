"""Where a copy of a message goes: delay queue, dead-letter queue, or back to its handler.

Single queues are addressed through the default exchange, whose routing key is the queue's name:
nothing has to be bound, and a queue that is gone makes the message unroutable instead of lost.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ... import names
from ...handling import now_ms, with_headers
from ...messages import Message
from ...settings import Settings
from ..base import Delivery, Subscription
from .batches import Outgoing
from .tiers import tier_ms
from .topology import TIER_HEADER
from .wire import with_header

_DEFAULT_EXCHANGE = ""


def event_target(settings: Settings, message: Message) -> Outgoing:
    """To everybody who is bound for it."""
    return Outgoing(settings.exchange, message.routing_key, message)


def retry_target(
    settings: Settings, subscription: Subscription, message: Message, due_at_ms: int, attempt: int
) -> Outgoing:
    """To the handler's queue by way of a delay queue, or directly if it is time already."""
    tier = tier_ms(due_at_ms - now_ms())
    if tier is None:
        return queue_target(subscription.name, message)
    delayed = with_header(message, TIER_HEADER, str(tier))
    return Outgoing(names.delay_exchange(settings.exchange), subscription.name, delayed)


def dead_letter_target(
    settings: Settings, subscription: Subscription, message: Message, attempt: int
) -> Outgoing:
    """To the handler's dead-letter queue.

    Beside 3.x by way of the exchange that keeps the event's own routing key, which 3.x's replay
    goes by; directly at the next attempt, since that exchange is not durable and its bindings
    need not match.
    """
    if settings.topology == "3.x" and attempt == 0:
        exchange = names.legacy_dead_letter_exchange(subscription.name)
        return Outgoing(exchange, message.routing_key, message)
    return queue_target(names.dead_letter_queue(subscription.name), message)


def return_target(delivery: Delivery, attempt: int) -> Outgoing:
    """Back to the queue that it came from, as it is."""
    return copy_target(delivery.subscription.name, delivery.message)


def replay_targets(settings: Settings, handler_name: str) -> list[Callable[[Message], Outgoing]]:
    """Where to replay to: the handler's queue, by each way that may be tried in turn.

    A 3.x worker that rejects the event needs the event's own routing key to keep it.
    """
    directly = partial(queue_target, handler_name)
    if settings.topology != "3.x":
        return [directly]
    exchange = names.legacy_retry_exchange(handler_name)

    def keeping_its_key(message: Message) -> Outgoing:
        return Outgoing(exchange, message.routing_key, message)

    return [keeping_its_key, directly]


def copy_target(queue: str, message: Message) -> Outgoing:
    """To one queue, without what the broker noted about it."""
    return queue_target(queue, with_headers(message, {}, message.message_id))


def queue_target(queue: str, message: Message) -> Outgoing:
    return Outgoing(_DEFAULT_EXCHANGE, queue, message)
