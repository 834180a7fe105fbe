"""``look WHERE COUNT``: look at dead letters so often, in the broker's queue or in the table."""

from __future__ import annotations

from io import StringIO
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from domain_event_broker import LEAVE, replay_all

from ....plans import HANDLERS


class Command(BaseCommand):
    help = "Looks at the dead letters of a handler so often, and leaves them where they are."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("where", choices=["queue", "table"])
        parser.add_argument("count", type=int)
        parser.add_argument("--handler", choices=HANDLERS, default=HANDLERS[0])

    def handle(self, *args: Any, **options: Any) -> None:
        look = look_into_queue if options["where"] == "queue" else look_into_table
        for number in range(options["count"]):
            look(options["handler"], number)


def look_into_queue(handler: str, number: int) -> None:
    replay_all(handler, lambda **kwargs: LEAVE)


def look_into_table(handler: str, number: int) -> None:
    how = "--group" if number % 2 else "--list"
    call_command("replay_dead_letters", handler, how, stdout=StringIO())
