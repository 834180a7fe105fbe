"""What several subjects do with the outbox of this process's only database."""

import time
from collections.abc import Sequence

from domain_event_broker.django import background
from domain_event_broker.django.background import Committed
from domain_event_broker.django.models import OutboxEvent

POLL_SECONDS = 0.005


def send_nothing() -> None:
    """From now on, leave what this process publishes in the outbox."""
    background.publisher.hand_over = ignore  # type: ignore[method-assign]


def ignore(events: Sequence[Committed]) -> None:
    """Instead of the background publisher's `hand_over`."""


def wait_until_empty() -> None:
    while OutboxEvent.objects.exists():
        time.sleep(POLL_SECONDS)
