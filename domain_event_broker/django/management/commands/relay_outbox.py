"""``manage.py relay_outbox``: send what is in the outbox, for services that only publish."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ....transports import transport_for
from ... import conf
from ...console import NORMAL, telling_errors
from ...databases import translated
from ...models import OutboxEvent
from ...relaying import Relay, Relayed
from ...sending import outbox
from ...stopping import StopSign, stopping_on_signals
from ..arguments import add_databases, databases_with


class Command(BaseCommand):
    help = (
        "Sends the events in the outbox that no process is sending, until it is told to stop. "
        "Processes that publish and run_subscriber do the same; services that run neither "
        "all the time need it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_databases(parser)
        parser.add_argument(
            "--once",
            action="store_true",
            help="Send what is there, then end. What others are sending is waited for.",
        )
        parser.add_argument(
            "--unpark",
            action="store_true",
            help="First let parked events, which could not be sent, be tried again.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self._verbosity: int = options["verbosity"]
        with telling_errors(self.stderr, self._verbosity):
            self._run(options)

    def _run(self, options: dict[str, Any]) -> None:
        settings = conf.required()
        if not transport_for(settings).capabilities.persistent:
            raise CommandError(f"{settings.safe_url} ends with this process: nothing to relay to.")
        aliases = databases_with(options["databases"], OutboxEvent)
        if options["unpark"]:
            self._unpark(aliases)
        stop = StopSign()
        relay = Relay(settings, aliases, stop)
        try:
            with stopping_on_signals(stop.set):
                if options["once"]:
                    self._sum_up(relay.drain(), aliases)
                else:
                    self._tell(f"Relaying to {settings.safe_url}.")
                    relay.run()
        finally:
            relay.close()

    def _unpark(self, aliases: list[str]) -> None:
        for alias in aliases:
            with translated(alias):
                count = outbox(alias).unpark()
            self._tell(f"Parked events of {alias!r} that are tried again: {count}.")

    def _sum_up(self, relayed: Relayed, aliases: list[str]) -> None:
        left = parked = 0
        for alias in aliases:
            with translated(alias):
                left += outbox(alias).count()
                parked += outbox(alias).parked().count()
        self._tell(f"{relayed.sent} sent, {left} left, {parked} of them parked.")
        if relayed.outage is not None:
            raise CommandError(f"The broker took no more: {relayed.outage}")

    def _tell(self, line: str) -> None:
        if self._verbosity >= NORMAL:
            self.stdout.write(line)
            self.stdout.flush()
