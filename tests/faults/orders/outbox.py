"""An option of the commands that publish: to stay until everything was sent."""

from __future__ import annotations

from django.core.management.base import CommandParser

from domain_event_broker.django.models import OutboxEvent
from tests.support.waiting import wait_until

PATIENCE_SECONDS = 120.0


def add_until_sent(parser: CommandParser) -> None:
    parser.add_argument(
        "--until-sent",
        action="store_true",
        help="End only when the outbox is empty, whoever's events are in it.",
    )


def wait_until_sent() -> None:
    wait_until(
        lambda: not OutboxEvent.objects.exists(), PATIENCE_SECONDS, "The outbox is not empty"
    )
