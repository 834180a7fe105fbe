"""``manage.py prune_domain_events``: remove what is settled and old."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from ....retrying import MAX_DELAY_SECONDS
from ...console import NORMAL, telling_errors
from ...databases import translated
from ...models import DeadLetter, InboxEntry, Queue
from ...pruning import DAY_SECONDS, DEFAULT_RETENTION_DAYS, Pruned, prune
from ..arguments import add_databases, databases_with, days


class Command(BaseCommand):
    help = (
        "Removes inbox entries, and dead letters that were replayed or discarded, older than a "
        "retention, and queues of the database transport that belonged to subscribers which died. "
        "Run it every day."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_databases(parser)
        parser.add_argument(
            "--older-than",
            type=days,
            default=DEFAULT_RETENTION_DAYS,
            metavar="DAYS",
            help="How long they are kept (default: %(default)s).",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Say what would be removed; remove nothing."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self._verbosity: int = options["verbosity"]
        retention_days: float = options["older_than"]
        if retention_days * DAY_SECONDS <= MAX_DELAY_SECONDS:
            self.stderr.write(
                f"A copy of an event may come {MAX_DELAY_SECONDS // DAY_SECONDS} days late, when a "
                "retry was delayed so long; it would then take effect again."
            )
        with telling_errors(self.stderr, self._verbosity):
            for alias in databases_with(options["databases"], InboxEntry, Queue, DeadLetter):
                with translated(alias):
                    pruned = prune(alias, retention_days, is_dry_run=options["dry_run"])
                self._tell(pruned, "would be removed" if options["dry_run"] else "removed")

    def _tell(self, pruned: Pruned, done: str) -> None:
        if self._verbosity >= NORMAL:
            self.stdout.write(
                f"{pruned.alias}: {pruned.inbox_entries} inbox entries, {pruned.dead_letters} "
                f"settled dead letters, {pruned.queues} queues and {pruned.messages} messages of "
                f"none {done}."
            )
