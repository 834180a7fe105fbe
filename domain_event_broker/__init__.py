"""Publish and handle domain events, without losing any."""

from .errors import DomainEventBrokerError
from .events import DomainEvent
from .publishing import Publisher, publish_domain_event, publish_domain_events
from .replaying import DISCARD, LEAVE, RETRY, replay_all, replay_event
from .retrying import Backoff, Retry
from .subscribing import Subscriber
from .transports.base import Outcome, PublishResult

__version__ = "4.0.0.dev0"

__all__ = [
    "DISCARD",
    "LEAVE",
    "RETRY",
    "Backoff",
    "DomainEvent",
    "DomainEventBrokerError",
    "Outcome",
    "PublishResult",
    "Publisher",
    "Retry",
    "Subscriber",
    "publish_domain_event",
    "publish_domain_events",
    "replay_all",
    "replay_event",
]
