"""The demo's child processes: each a command of manage.py, with its output in a file."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.waiting import wait_until

MANAGE_PY = Path(__file__).resolve().parents[2] / "manage.py"
START_TIMEOUT_SECONDS = 30
STOP_TIMEOUT_SECONDS = 15
COMMAND_TIMEOUT_SECONDS = 60
SHOWN_LINES = 40


class DemoError(Exception):
    """Something in the demo did not go as it should; the text says what."""


class Server:
    """A command that runs until it is stopped."""

    def __init__(self, command: str, log: Path, environment: Mapping[str, str]) -> None:
        self.command = command
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*_dies_with_us(), *_command_line(command)],
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Its own session, so that Ctrl-C reaches the demo alone, which then stops it.
                start_new_session=True,
            )

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return the first match of `pattern` in its output; fail if it ends before."""
        wait_until(
            lambda: re.search(pattern, self.output()) or self._process.poll() is not None,
            START_TIMEOUT_SECONDS,
            f"`{self.command}` did not get ready",
        )
        found = re.search(pattern, self.output())
        if found is None:
            raise DemoError(f"`{self.command}` ended with status {self._process.returncode}.")
        return found

    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def lines_with(self, text: str) -> list[str]:
        return [line for line in self.output().splitlines() if text in line]

    def stop(self) -> int:
        """Ask it to end, which a subscriber does gracefully; return its exit status."""
        self._process.terminate()
        try:
            return self._process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            raise DemoError(f"`{self.command}` did not stop.") from None
        finally:
            self.kill()

    def kill(self) -> None:
        """End it for certain. Harmless when it ended before."""
        self._process.kill()
        self._process.wait()

    def tell(self) -> str:
        """The end of its output, for when something failed."""
        lines = self.output().splitlines()[-SHOWN_LINES:]
        return "\n".join([f"--- the end of what `{self.command}` wrote:", *lines])


def run(command: str) -> str:
    """Run a command to its end and return what it printed; fail if it does."""
    try:
        finished = subprocess.run(
            [*_dies_with_us(), *_command_line(command)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DemoError(f"`{command}` did not end.") from None
    if finished.returncode != 0:
        raise DemoError(f"`{command}` ended with status {finished.returncode}:\n{finished.stdout}")
    return finished.stdout


def _command_line(command: str) -> list[str]:
    """What ``manage.py run_subscriber ...`` is run as: with our Python, unbuffered."""
    _, *arguments = command.split()
    return [sys.executable, "-u", str(MANAGE_PY), *arguments]


def _dies_with_us() -> list[str]:
    """A prefix by which the kernel ends the child should the demo be killed outright."""
    return ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
