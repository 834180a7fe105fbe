"""`publish_domain_event` past the outbox, at a steady rate; tells when each call began."""

import time

from domain_event_broker import publish_domain_event

from .event import ROUTING_KEY, data
from .output import tell
from .pace import at_rate


def main(count: int, per_second: float, broker_url: str) -> None:
    began_at: list[float] = []

    def publish(number: int) -> None:
        began_at.append(time.time())
        publish_domain_event(ROUTING_KEY, data(number), connection_settings=broker_url)

    at_rate(publish, count, per_second)
    tell(began_at=began_at)
