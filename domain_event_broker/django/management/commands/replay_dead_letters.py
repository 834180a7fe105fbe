"""``manage.py replay_dead_letters``: have what failed handled again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ....errors import DomainEventBrokerError
from ....settings import Settings
from ... import conf
from ...console import NORMAL, showing_warnings
from ...progress import ProgressBar
from ...registry import RegisteredHandler, registry
from ...replaying import Replayed, replay_dead_letters
from ...selecting import choose_handlers
from ..arguments import add_handlers


class Command(BaseCommand):
    help = "Puts the dead letters of the registered handlers, or of those named, back to them."

    def add_arguments(self, parser: CommandParser) -> None:
        add_handlers(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        self._verbosity: int = options["verbosity"]
        with showing_warnings(self.stderr, self._verbosity):
            try:
                settings = conf.required()
                handlers = choose_handlers(registry, options["handlers"])
                results = [self._tell(result) for result in self._replay(handlers, settings)]
            except DomainEventBrokerError as error:
                raise CommandError(str(error)) from error
        self._sum_up(results)

    def _replay(
        self, handlers: Sequence[RegisteredHandler], settings: Settings
    ) -> Iterator[Replayed]:
        bar = ProgressBar(self.stdout, is_shown=self._verbosity >= NORMAL)
        for handler in handlers:
            try:
                result = replay_dead_letters(
                    handler.name, settings, partial(bar.draw, handler.name)
                )
            finally:
                bar.clear()
            yield result

    def _tell(self, result: Replayed) -> Replayed:
        if result.error is not None:
            self.stderr.write(f"{result.handler}: {result.replayed} replayed, then: {result.error}")
        elif result.replayed or result.left:
            self._write(f"{result.handler}: {result.replayed} replayed, {result.left} left")
        return result

    def _sum_up(self, results: Sequence[Replayed]) -> None:
        failed = [result.handler for result in results if result.error is not None]
        replayed = sum(result.replayed for result in results)
        left = sum(result.left or 0 for result in results)
        if failed:
            raise CommandError(f"{replayed} replayed; some could not be, of: {', '.join(failed)}.")
        if replayed or left:
            self._write(f"Total: {replayed} replayed, {left} left")
        else:
            self._write("There are no dead letters.")

    def _write(self, line: str) -> None:
        if self._verbosity >= NORMAL:
            self.stdout.write(line)
