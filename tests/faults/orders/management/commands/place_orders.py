"""``place_orders SEED``: carry out the plan of a seed."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import InterfaceError, OperationalError, connection

from domain_event_broker.django import background

from ....plans import Transaction, drawn
from ...outbox import add_until_sent, wait_until_sent
from ...placing import place

FLUSH_SECONDS = 60.0
POLL_SECONDS = 0.05


class Command(BaseCommand):
    help = "Carries out the plan of a seed: waves of transactions, each with its events."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("seed", type=int)
        parser.add_argument("--waves", type=int)
        parser.add_argument(
            "--through-outages",
            action="store_true",
            help="Wait for a database that is away, then go on with the next transaction.",
        )
        add_until_sent(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        for wave in drawn(options["seed"], options["waves"]).waves:
            for order in wave:
                if options["through_outages"]:
                    _place_through_outage(order)
                else:
                    place(order)
            is_sent = background.publisher.flush(FLUSH_SECONDS)
            if not is_sent and not options["through_outages"]:
                raise CommandError("The events of a wave were not sent.")
        if options["until_sent"]:
            wait_until_sent()


def _place_through_outage(order: Transaction) -> None:
    try:
        place(order)
    except (OperationalError, InterfaceError):
        while not _is_there():
            time.sleep(POLL_SECONDS)


def _is_there() -> bool:
    connection.close()
    try:
        connection.ensure_connection()
    except (OperationalError, InterfaceError):
        return False
    return True
