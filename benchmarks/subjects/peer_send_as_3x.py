"""`send` with domain-event-broker 3.0.2: a connection for each event, and no confirm."""

from domain_event_broker import publish_domain_event

from .event import ROUTING_KEY, USER_ID, data
from .sending import measure


def main(size: int, batches: int, broker_url: str) -> None:
    def send(count: int) -> None:
        for _ in range(count):
            publish_domain_event(ROUTING_KEY, data(), str(USER_ID), connection_settings=broker_url)

    measure(send, size, batches)
