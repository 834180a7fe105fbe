"""``manage.py replay_dead_letters``: look at what failed, and have it handled again, or not."""

from __future__ import annotations

import getpass
import json
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import IO, Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ....errors import TransportError
from ....settings import Settings
from ... import background, conf, dead_letters
from ...console import NORMAL, telling_errors, write_line
from ...databases import check_tables
from ...dead_letters import Selection
from ...dead_letters.files import to_object
from ...dead_letters.settling import note_returned
from ...dead_letters.showing import data_of, group_line, line
from ...models import DeadLetter
from ...progress import ProgressBar
from ...registry import registry
from ...selecting import choose_handlers
from ...transactions import dead_letter_alias
from ..arguments import add_handlers, age, count
from ..interactive import Dialog

PAGE = 50


class Command(BaseCommand):
    help = (
        "Has the dead letters of the registered handlers, or of those named, handled again; or "
        "lists, groups, discards or exports them."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_handlers(parser)
        which = parser.add_argument_group("which of them")
        which.add_argument(
            "--id",
            action="append",
            default=[],
            dest="ids",
            metavar="ID",
            help="The id of a dead letter, or of its event. May be repeated.",
        )
        which.add_argument(
            "--routing-key", metavar="PATTERN", help="'*' is one word, '#' any number of words."
        )
        which.add_argument(
            "--error", metavar="TYPE", help="The exception's class, with or without its module."
        )
        which.add_argument("--text", help="What stands in the exception's message.")
        which.add_argument(
            "--older-than", type=age, metavar="AGE", help="Such as 90s, 15min, 2h or 3d."
        )
        which.add_argument("--newer-than", type=age, metavar="AGE", help="The same.")
        which.add_argument("--limit", type=count, metavar="N", help="The oldest so many.")
        which.add_argument(
            "--after", type=count, metavar="ID", help="Behind this one: the next page of a list."
        )
        instead = parser.add_argument_group("instead of replaying").add_mutually_exclusive_group()
        instead.add_argument("--list", action="store_true", help=f"A line each, {PAGE} of them.")
        instead.add_argument("--group", action="store_true", help="A line for each kind.")
        instead.add_argument(
            "--dry-run", action="store_true", help="Tell how many would be replayed."
        )
        instead.add_argument(
            "--interactive", action="store_true", help="Show each, and ask what to do with it."
        )
        instead.add_argument("--discard", action="store_true", help="Decide against handling them.")
        instead.add_argument(
            "--export", metavar="FILE", help="Write them to a new file, a line of JSON each."
        )
        instead.add_argument(
            "--import",
            dest="import_file",
            metavar="FILE",
            help="Store what was exported, to wait again.",
        )
        parser.add_argument("--json", action="store_true", help="Write lines of JSON.")
        parser.add_argument("--no-input", action="store_true", help="Do not ask before discarding.")

    def handle(self, *args: Any, **options: Any) -> None:
        self._verbosity: int = options["verbosity"]
        self._is_json: bool = options["json"]
        with telling_errors(self.stderr, self._verbosity):
            self._run(options)

    def _run(self, options: dict[str, Any]) -> None:
        settings = conf.required()
        check_tables(dead_letter_alias(), DeadLetter)
        names = self._names(options["handlers"])
        selection = Selection(
            handlers=names if options["handlers"] else (),
            ids=[int(each) for each in options["ids"] if each.isdecimal() and len(each) < 19],
            event_ids=options["ids"],
            routing_key=options["routing_key"],
            error=options["error"],
            text=options["text"],
            older_than_seconds=options["older_than"],
            newer_than_seconds=options["newer_than"],
            after=options["after"],
            limit=options["limit"],
        )
        if options["import_file"]:
            self._import(options["import_file"])
            return
        self._collect(names, settings)
        if self._is_nothing(selection):
            return
        if options["list"]:
            self._list(selection, settings)
        elif options["group"]:
            self._group(selection)
        elif options["dry_run"]:
            self._tell("would_be_replayed", dead_letters.count(selection), "would be replayed.")
        elif options["interactive"]:
            self._ask(selection, settings)
        elif options["discard"]:
            self._discard(selection, options["no_input"])
        elif options["export"]:
            self._export(selection, options["export"])
        else:
            self._replay(selection, settings)

    def _names(self, named: Sequence[str]) -> list[str]:
        """Those named, or all that are registered; one that is no more may have dead letters."""
        rows = DeadLetter.objects.using(dead_letter_alias()).filter(handler__in=named)
        known = set(rows.values_list("handler", flat=True).distinct()) if named else set()
        registered = [name for name in named if name not in known]
        if named and not registered:
            return list(named)
        return [*known, *(each.name for each in choose_handlers(registry, registered))]

    def _collect(self, names: Sequence[str], settings: Settings) -> None:
        bar = self._bar()
        try:
            for name in names:
                dead_letters.collect(name, settings, partial(bar.draw, f"collected of {name}"))
        except TransportError as error:
            bar.clear()
            self.stderr.write(f"What is still in the broker's queues is left out: {error}")
        finally:
            bar.clear()

    def _is_nothing(self, selection: Selection) -> bool:
        if dead_letters.count(selection):
            return False
        there = dead_letters.count(Selection(handlers=selection.handlers))
        if there:
            self._tell("matching", 0, f"dead letters match; {there} wait.")
        else:
            self._write("There are no dead letters.", {"dead_letters": 0})
        return True

    def _list(self, selection: Selection, settings: Settings) -> None:
        most = selection.limit or PAGE
        row = None
        for row in dead_letters.waiting(selection)[:most]:
            told = {**to_object(row), "id": row.pk, "data": data_of(row, settings)}
            for name in ("body", "body_base64", "properties"):
                told.pop(name, None)
            self._write(line(row), told)
        rest = dead_letters.waiting(selection).filter(pk__gt=row.pk if row else 0).count()
        if rest and row is not None and not self._is_json:
            self._write(f"{rest} more: --after {row.pk}")

    def _group(self, selection: Selection) -> None:
        for group in dead_letters.groups(selection):
            self._write(group_line(group), asdict(group))

    def _ask(self, selection: Selection, settings: Settings) -> None:
        dialog = Dialog(settings, who(), self.stdout)
        dialog.run(selection)
        self._wait_until_sent(settings)
        self._write(f"{dialog.replayed} replayed, {dialog.discarded} discarded, {dialog.left} left")

    def _discard(self, selection: Selection, is_sure: bool) -> None:
        there = dead_letters.count(selection)
        if not is_sure:
            question = f"Discard {there} dead letter(s), which nobody handles then? [y/N] "
            if not is_yes(question):
                raise CommandError("Nothing was discarded.")
        decided = self._with_bar(
            "discarded", lambda draw: dead_letters.discard(selection, who(), draw)
        )
        self._tell("discarded", decided.count, "discarded.")

    def _export(self, selection: Selection, path: str) -> None:
        try:
            with _whole_or_none(Path(path)) as file:
                done = self._with_bar(
                    "exported", lambda draw: dead_letters.export(selection, file, draw)
                )
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error}") from error
        self._tell("exported", done, f"exported to {path}; they still wait.")

    def _import(self, path: str) -> None:
        try:
            with Path(path).open(encoding="utf-8") as file:
                done = dead_letters.import_lines(file)
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{path} cannot be read: {error}") from error
        self._tell("imported", done, "imported; the others are there already.")

    def _replay(self, selection: Selection, settings: Settings) -> None:
        def replay(draw: Callable[[int, int], None]) -> dead_letters.Decided:
            def on_progress(done: int, total: int) -> None:
                # No faster than they are sent: what the hand-over has no room for would wait.
                self._wait_until_sent(settings)
                draw(done, total)

            return dead_letters.replay(selection, settings, who(), on_progress)

        decided = self._with_bar("replayed", replay)
        note_returned(decided)
        left = dead_letters.count(Selection(handlers=selection.handlers))
        self._write(
            f"{decided.count} replayed, {left} left",
            {"replayed": decided.count, "left": left},
        )
        if decided.without_queue:
            raise CommandError(
                f"Without a queue to replay to: {', '.join(sorted(decided.without_queue))}. Start "
                "their subscribers once. Their dead letters stay."
            )

    def _wait_until_sent(self, settings: Settings) -> None:
        background.publisher.flush(settings.publish_timeout_seconds)

    def _with_bar(self, label: str, work: Callable[[Callable[[int, int], None]], Any]) -> Any:
        bar = self._bar()
        try:
            return work(partial(bar.draw, label))
        finally:
            bar.clear()

    def _bar(self) -> ProgressBar:
        is_shown = self._verbosity >= NORMAL and not self._is_json
        return ProgressBar(self.stdout, is_shown=is_shown)

    def _tell(self, name: str, number: int, told: str) -> None:
        self._write(f"{number} {told}", {name: number})

    def _write(self, text: str, told: object | None = None) -> None:
        if self._is_json and told is not None:
            write_line(self.stdout, json.dumps(told, ensure_ascii=False, default=str))
        elif self._verbosity >= NORMAL:
            write_line(self.stdout, text)


def is_yes(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:  # nobody is there to say so
        return False


def who() -> str:
    """The person at this terminal, for the record."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "?"
    return f"{user}@{socket.gethostname()}"


@contextmanager
def _whole_or_none(path: Path) -> Iterator[IO[str]]:
    """A new file to write to, which is removed if that fails: half of an export looks like all."""
    with path.open("x", encoding="utf-8") as file:
        try:
            yield file
            file.flush()
        except BaseException:
            path.unlink()
            raise
