"""``signalled SIGNAL POINT NTH COMMAND ...``: run a command that gets a signal at some point."""

from __future__ import annotations

import argparse
import signal
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from ...points import POINTS, signal_at


class Command(BaseCommand):
    help = "Runs another command, which gets a signal at its n-th pass of a named point."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("signal", choices=["SIGKILL", "SIGSTOP"])
        parser.add_argument("point", choices=list(POINTS))
        parser.add_argument("nth", type=int)
        parser.add_argument("command", nargs=argparse.REMAINDER)

    def handle(self, *args: Any, **options: Any) -> None:
        signal_at(options["point"], options["nth"], signal.Signals[options["signal"]])
        call_command(*options["command"])
