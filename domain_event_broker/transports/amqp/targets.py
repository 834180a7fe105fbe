"""Where a copy of a message goes: delay queue, dead-letter queue, or back to its handler.

Single queues are addressed through the default exchange, whose routing key is the queue's name:
nothing has to be bound, and a queue that is gone makes the message unroutable instead of lost.
"""

from __future__ import annotations

from ... import names
from ...handling import now_ms
from ...messages import Message
from ...settings import Settings
from ..base import Subscription
from .publisher import Outgoing
from .tiers import tier_ms
from .topology import TIER_HEADER
from .wire import to_properties, with_header

_DEFAULT_EXCHANGE = ""


def event_target(settings: Settings, message: Message) -> Outgoing:
    """To everybody who is bound for it."""
    return Outgoing(settings.exchange, message.routing_key, to_properties(message), message.body)


def retry_target(
    settings: Settings, subscription: Subscription, message: Message, due_at_ms: int
) -> Outgoing:
    """To the handler's queue by way of a delay queue, or directly if it is time already."""
    tier = tier_ms(due_at_ms - now_ms())
    if tier is None:
        return queue_target(subscription.name, message)
    delayed = with_header(message, TIER_HEADER, str(tier))
    return Outgoing(
        names.delay_exchange(settings.exchange),
        subscription.name,
        to_properties(delayed),
        message.body,
    )


def dead_letter_target(subscription: Subscription, message: Message) -> Outgoing:
    return queue_target(names.dead_letter_queue(subscription.name), message)


def queue_target(queue: str, message: Message) -> Outgoing:
    return Outgoing(_DEFAULT_EXCHANGE, queue, to_properties(message), message.body)
