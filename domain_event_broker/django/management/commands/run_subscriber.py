"""``manage.py run_subscriber``: handle events until told to stop."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ....errors import DomainEventBrokerError
from ... import conf
from ...console import Console, showing_warnings
from ...registry import registry
from ...running import HandlerRun, Limits
from ...selecting import choose_handlers
from ...stopping import stopping_on_signals
from ..arguments import add_handlers, count, seconds

DEFAULT_SHUTDOWN_TIMEOUT_SECONDS = 30.0


class Command(BaseCommand):
    help = "Runs the registered handlers, or those named, until it is told to stop."

    def add_arguments(self, parser: CommandParser) -> None:
        add_handlers(parser)
        parser.add_argument(
            "--exclude",
            action="append",
            default=[],
            metavar="HANDLER",
            help="Do not run this one. May be repeated.",
        )
        parser.add_argument(
            "--drain",
            action="store_true",
            help="Handle what is waiting, and what the handlers publish meanwhile, then end. "
            "Delayed retries are left to later.",
        )
        parser.add_argument(
            "--time-limit", type=seconds, metavar="SECONDS", help="End after so many seconds."
        )
        parser.add_argument(
            "--max-events", type=count, metavar="N", help="End after so many handled events."
        )
        parser.add_argument(
            "--shutdown-timeout",
            type=seconds,
            default=DEFAULT_SHUTDOWN_TIMEOUT_SECONDS,
            metavar="SECONDS",
            help="Wait no longer than this for the running handler to end (default: %(default)g).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with showing_warnings(self.stderr, options["verbosity"]):
            try:
                self._run(options)
            except DomainEventBrokerError as error:
                raise CommandError(str(error)) from error

    def _run(self, options: dict[str, Any]) -> None:
        settings = conf.required()
        handlers = choose_handlers(registry, options["handlers"], options["exclude"])
        console = Console(self.stdout, self.stderr, options["verbosity"])
        run = HandlerRun(
            handlers,
            settings,
            Limits(
                drain=options["drain"],
                time_limit_seconds=options["time_limit"],
                max_events=options["max_events"],
                shutdown_timeout_seconds=options["shutdown_timeout"],
            ),
            on_ready=lambda: console.ready(handlers, settings),
            on_report=console.report,
        )
        with stopping_on_signals(run.stop):
            run.run()
