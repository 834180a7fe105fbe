"""`publish_domain_events` past the outbox: encoded, sent and confirmed, all in one call."""

from domain_event_broker import DomainEvent, publish_domain_events
from domain_event_broker.transports.base import Outcome

from .clock import Stopwatch
from .event import ROUTING_KEY, USER_ID, data
from .output import tell


def main(count: int, broker_url: str) -> None:
    events = [DomainEvent(ROUTING_KEY, data(), str(USER_ID)) for _ in range(count)]
    watch = Stopwatch()
    results = publish_domain_events(events, connection_settings=broker_url)
    figures = watch.figures(count)
    assert all(result.outcome is Outcome.CONFIRMED for result in results)
    tell(**figures)
