"""``manage.py publish_event``: publish one event by hand, for repairs."""

from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ....events import DomainEvent
from ....settings import Settings
from ... import background, conf
from ...console import NORMAL, telling_errors
from ...deferring import needs_outbox
from ...publishing import publish_domain_event
from ...sending import outbox
from ...transactions import alias_to_write


class Command(BaseCommand):
    help = "Publishes one event, which is checked as any other."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("routing_key", metavar="ROUTING_KEY", help="Such as user.registered.")
        parser.add_argument(
            "data", metavar="JSON", help="The event's data, an object; '-' reads it from stdin."
        )
        parser.add_argument("--domain-object-id", metavar="ID", help="What it happened to.")
        parser.add_argument(
            "--uuid",
            metavar="UUID",
            help="The event's id; a new one if left out. With the id of an earlier event, handlers "
            "that have an inbox and handled that one do nothing.",
        )
        parser.add_argument(
            "--timestamp",
            type=float,
            metavar="SECONDS",
            help="When it happened, since the epoch; now if left out.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with telling_errors(self.stderr, options["verbosity"]):
            settings = conf.required()
            event = publish_domain_event(
                options["routing_key"],
                self._data(options["data"]),
                options["domain_object_id"],
                options["uuid"],
                options["timestamp"],
            )
            is_sent = self._is_sent(event, settings)
        if options["verbosity"] >= NORMAL:
            state = "published" if is_sent else "stored; it is sent as soon as the broker is there"
            self.stdout.write(f"{event.uuid_string} is {state}.")

    def _is_sent(self, event: DomainEvent, settings: Settings) -> bool:
        if not needs_outbox(settings):
            return True
        # What cannot be sent now is left to the relay: the row is still there.
        is_done = background.publisher.flush(settings.publish_timeout_seconds)
        rows = outbox(alias_to_write(None)).filter(event_id=event.uuid_string)
        return is_done and not rows.exists()

    def _data(self, text: str) -> dict[str, Any]:
        try:
            data = json.loads(sys.stdin.read() if text == "-" else text)
        except (ValueError, RecursionError) as error:
            # Its text quotes nothing of the data.
            raise CommandError(f"The data is not JSON: {error}") from None
        if not isinstance(data, dict):
            raise CommandError("The data must be an object, such as '{\"user_id\": 1}'.")
        return data
