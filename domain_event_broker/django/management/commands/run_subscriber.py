"""``manage.py run_subscriber``: handle events until told to stop."""

from __future__ import annotations

import os
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ....subscribing import check_threads
from ... import conf
from ...console import Console, telling_errors
from ...processes import Job, check_can_be_shared, handle, serve, supervise
from ...registry import registry
from ...running import Limits
from ...selecting import choose_handlers
from ...supervised import Supervised
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
            "--processes",
            type=count,
            default=1,
            metavar="N",
            help="Run so many processes, each as the other options say; one that dies is replaced.",
        )
        parser.add_argument(
            "--threads",
            type=count,
            metavar="N",
            help="Handle so many events at once in each process, of one handler as many as its "
            "concurrency allows (default: the highest concurrency of the handlers).",
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
            help="Wait no longer than this for running handlers to end (default: %(default)g).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        verbosity: int = options["verbosity"]
        console = Console(self.stdout, self.stderr, verbosity)
        supervised = None
        with telling_errors(self.stderr, verbosity):
            job = _job(options)
            if options["processes"] == 1:
                handle(job, console)
            else:
                supervised = _supervise(options["processes"], job, console)
        if supervised is not None:
            serve(supervised, job, self.stdout, self.stderr, verbosity)


def _job(options: dict[str, Any]) -> Job:
    settings = conf.required()
    handlers = choose_handlers(registry, options["handlers"], options["exclude"])
    if options["threads"] is not None:
        check_threads(options["threads"])
    limits = Limits(
        drain=options["drain"],
        time_limit_seconds=options["time_limit"],
        max_events=options["max_events"],
        shutdown_timeout_seconds=options["shutdown_timeout"],
        threads=options["threads"],
    )
    return Job(handlers, settings, limits)


def _supervise(processes: int, job: Job, console: Console) -> Supervised | None:
    """What one of the processes is; ``None`` at the end of the one that watched them."""
    if not hasattr(os, "fork"):
        raise CommandError("--processes needs a system that can fork; start several of these.")
    check_can_be_shared(job)
    console.starting(processes, job.handlers, job.settings)
    supervisor, supervised = supervise(processes, job)
    if supervised is None and supervisor.exit_status:
        status = supervisor.exit_status
        told = supervisor.complaint or f"A process ended with status {status}, as was told above."
        raise CommandError(told, returncode=status)
    return supervised
