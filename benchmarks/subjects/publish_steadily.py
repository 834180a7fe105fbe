"""Publishes at a steady rate, each event in a transaction, and tells when each was committed."""

from django.db import transaction

from domain_event_broker import publish_domain_event

from .event import ROUTING_KEY, data
from .output import tell
from .pace import at_rate


def main(count: int, per_second: float) -> None:
    tell(committed_at=at_rate(publish, count, per_second))


def publish(number: int) -> None:
    with transaction.atomic():
        publish_domain_event(ROUTING_KEY, data(number))
