"""``publish_bodies KEY``: publish what is no event."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from domain_event_broker import Publisher
from tests.amqp.test_bad_input import BODIES


class Command(BaseCommand):
    help = "Publishes bodies that no handler can read, as far as anybody can publish them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key")

    def handle(self, *args: Any, **options: Any) -> None:
        with Publisher() as publisher:
            for body in BODIES:
                publisher.publish(body, options["key"])
