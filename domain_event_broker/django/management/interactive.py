"""Deciding on dead letters one by one, in a terminal. A person may think for as long as they like:
nothing is held meanwhile, neither a connection to the broker nor a lock."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from django.core.management.base import CommandError

from ...errors import DomainEventBrokerError
from ...settings import Settings
from ...transports.base import no_queue
from ..console import Output
from ..dead_letters import Selection, discard, replay, waiting
from ..dead_letters.editing import edit
from ..dead_letters.showing import in_full
from ..models import DeadLetter

_QUESTION = "[r]eplay, [d]iscard, [l]eave, [e]dit or [q]uit? "


class Dialog:
    """Shows each selected dead letter and asks what is to become of it."""

    def __init__(
        self,
        settings: Settings,
        by: str,
        output: Output,
        ask: Callable[[str], str] | None = None,
    ) -> None:
        self._settings = settings
        self._by = by
        self._output = output
        self._ask = ask or input
        self.replayed = self.discarded = self.left = 0

    def run(self, selection: Selection) -> None:
        """Go through what there is now, the oldest first, until all are asked about, or `quit`."""
        ids = list(waiting(selection).values_list("pk", flat=True)[: selection.limit])
        for number, pk in enumerate(ids, 1):
            row = waiting(Selection(ids=[pk])).first()
            if row is None:
                self._output.write(f"{pk}: somebody else has decided on it meanwhile.")
                continue
            self._output.write(f"\n{number} of {len(ids)}")
            if not self._decide(row):
                self.left += len(ids) - number + 1
                return

    def _decide(self, row: DeadLetter) -> bool:
        """False to end."""
        for each in in_full(row, self._settings):
            self._output.write(each)
        one = Selection(ids=[row.pk])
        while True:
            answer = self._answer()
            if answer == "r":
                self._replay(one)
            elif answer == "d":
                self.discarded += discard(one, self._by).count
            elif answer == "l":
                self.left += 1
            elif answer == "e":
                self._edit(row)
                continue
            elif answer == "q":
                return False
            else:
                continue
            return True

    def _replay(self, one: Selection) -> None:
        decided = replay(one, self._settings, self._by)
        self.replayed += decided.count
        for handler_name in decided.without_queue:
            self.left += 1
            self._output.write(f"It stays. {no_queue(handler_name)}")

    def _answer(self) -> str:
        try:
            return self._ask(_QUESTION).strip().lower()[:1]
        except EOFError:  # nobody is there any more
            return "q"

    def _edit(self, row: DeadLetter) -> None:
        try:
            edit(row, edited(readable(bytes(row.body))), self._settings)
        except (DomainEventBrokerError, CommandError) as error:
            self._output.write(f"Not changed: {error}")
        else:
            self._output.write("Changed. It still waits.")


def readable(body: bytes) -> str:
    """The body in lines, where it is JSON."""
    text = body.decode("utf-8", "backslashreplace")
    try:
        lines = json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
        lines.encode("utf-8")  # no lone surrogates
    except (ValueError, RecursionError):
        return text
    return lines


def edited(text: str) -> str:
    """What the person's editor makes of `text`. Raises `CommandError` where it fails."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory(prefix="dead-letter-") as folder:
        file = Path(folder) / "event.json"
        file.touch(mode=0o600)
        file.write_text(text, encoding="utf-8")
        try:
            subprocess.run([*shlex.split(editor), str(file)], check=True)
            return file.read_text(encoding="utf-8")
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            raise CommandError(f"The editor failed: {error}") from error
