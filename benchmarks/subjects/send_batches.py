"""`publish_domain_events` without Django: built, encoded, sent and confirmed."""

from domain_event_broker import DomainEvent, publish_domain_events
from domain_event_broker.transports.base import Outcome

from .event import ROUTING_KEY, USER_ID, data
from .sending import measure


def main(size: int, batches: int, broker_url: str) -> None:
    def send(count: int) -> None:
        events = [DomainEvent(ROUTING_KEY, data(), str(USER_ID)) for _ in range(count)]
        results = publish_domain_events(events, connection_settings=broker_url)
        assert all(result.outcome is Outcome.CONFIRMED for result in results)

    measure(send, size, batches)
