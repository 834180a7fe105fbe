"""`Subscriber` without Django; tells when the handler was given each event."""

import time

from domain_event_broker import DomainEvent, Subscriber

from .event import BINDING_KEY, HANDLER
from .output import tell


def main(count: int, time_limit_seconds: float, broker_url: str) -> None:
    arrivals: list[tuple[int, float]] = []

    def note(event: DomainEvent) -> None:
        now = time.time()
        arrivals.append((event.data["user_id"], now))

    subscriber = Subscriber(broker_url)
    subscriber.register(note, HANDLER, [BINDING_KEY])
    tell(ready=True)
    subscriber.start_consuming(time_limit_seconds, max_events=count)
    tell(arrivals=arrivals)
