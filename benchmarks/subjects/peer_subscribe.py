"""`subscribe` with what ``deliver_events`` of django-domain-events does."""

import time

from django_domain_events import run_relay  # type: ignore[import-not-found]

from .output import tell
from .peer_declarations import UserRegistered, declare


def main(count: int, time_limit_seconds: float) -> None:
    arrivals: list[tuple[int, float]] = []

    def note(event: UserRegistered) -> None:
        now = time.time()
        arrivals.append((event.user_id, now))

    declare(note)
    end = time.monotonic() + time_limit_seconds
    tell(ready=True)
    run_relay(worker_id="benchmark", stop=lambda: len(arrivals) >= count or time.monotonic() >= end)
    tell(arrivals=arrivals)
