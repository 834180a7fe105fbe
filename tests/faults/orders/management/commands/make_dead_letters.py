"""``make_dead_letters [--collect] COMMAND ...``: have what a command publishes fail."""

from __future__ import annotations

import argparse
import logging
from io import StringIO
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from domain_event_broker import DomainEvent, Subscriber

from ....plans import HANDLERS
from ...domain_events import NotReady, keys_of


class Command(BaseCommand):
    help = "Runs another command; all that waits then fails, and stays in the broker's queues."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--collect", action="store_true", help="Have them in the table.")
        parser.add_argument("command", nargs=argparse.REMAINDER)

    def handle(self, *args: Any, **options: Any) -> None:
        call_command(*options["command"])
        logging.getLogger("domain_event_broker").setLevel(logging.CRITICAL)
        subscriber = Subscriber()
        for name in HANDLERS:
            subscriber.register(fail, name, keys_of(name))
        subscriber.start_consuming(drain=True)
        if options["collect"]:
            call_command("replay_dead_letters", "--list", stdout=StringIO())


def fail(event: DomainEvent) -> None:
    raise NotReady("not yet")
