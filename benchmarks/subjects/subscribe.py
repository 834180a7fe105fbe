"""What ``run_subscriber`` does, with the inbox; tells when the handler was given each event."""

import time

from domain_event_broker import DomainEvent
from domain_event_broker.django import conf
from domain_event_broker.django.running import HandlerRun, Limits

from .handlers import declared
from .output import tell


def main(count: int, time_limit_seconds: float) -> None:
    arrivals: list[tuple[int, float]] = []

    def note(event: DomainEvent) -> None:
        now = time.time()
        arrivals.append((event.data["user_id"], now))

    run = HandlerRun(
        [declared(note, inbox=True)],
        conf.required(),
        Limits(max_events=count, time_limit_seconds=time_limit_seconds),
        on_ready=lambda: tell(ready=True),
        on_report=lambda report: None,
    )
    run.run()
    tell(arrivals=arrivals)
