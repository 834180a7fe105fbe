"""A project whose ``run_subscriber`` is several processes, and what its handler notes of them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tests.support.processes import is_alive
from tests.support.threads import start_thread
from tests.support.waiting import wait_until

from .project import TIMEOUT_SECONDS, Project

PATIENCE_SECONDS = 30.0
#: Soon enough for tests that kill who holds it.
LEASE_SECONDS = 1.0

HANDLERS = """
import os
import signal
import threading
import time
from pathlib import Path

from domain_event_broker.django import domain_event_handler

folder = Path(__file__).resolve().parent


def note(what, *words):
    with (folder / what).open("a") as file:
        file.write(" ".join(map(str, words)) + "\\n")


@domain_event_handler("order.*", name="reserve", inbox=False)
def reserve(event):
    note("begun", os.getpid(), event.data["number"])
    names = [thread.name.replace(" ", "-") for thread in threading.enumerate()]
    note("threads", os.getpid(), *names)
    while (folder / "wait").exists():
        time.sleep(0.01)
    note("handled", os.getpid(), event.data["number"])
"""
PLACE = """
from django.core.management import BaseCommand

from domain_event_broker import publish_domain_event


class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("numbers", nargs="+", type=int)

    def handle(self, **options):
        for number in options["numbers"]:
            publish_domain_event("order.placed", {"number": number})
"""


class Orders:
    """The project, its orders, and what became of them."""

    def __init__(self, project: Project) -> None:
        self.project = project
        project.write("orders/domain_events.py", HANDLERS)
        project.write("orders/management/commands/place.py", PLACE)

    def declare(self) -> None:
        finished = self.project.run("declare_queues")
        assert finished.returncode == 0, finished.stderr

    def place(self, *numbers: int) -> None:
        finished = self.project.run("place", *map(str, numbers))
        assert (finished.returncode, finished.stderr) == (0, "")

    def hold(self) -> None:
        """Have handlers wait, from now on."""
        (self.project.folder / "orders/wait").touch()

    def let_go(self) -> None:
        (self.project.folder / "orders/wait").unlink(missing_ok=True)

    @property
    def begun(self) -> list[tuple[int, int]]:
        """Of each call of the handler, the process and the order's number."""
        return [(int(words[0]), int(words[1])) for words in self.noted("begun")]

    @property
    def handled(self) -> list[int]:
        """The numbers of those that ended well."""
        return [int(words[1]) for words in self.noted("handled")]

    def noted(self, what: str) -> list[list[str]]:
        file = self.project.folder / "orders" / what
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []

    def wait_for(self, count: int) -> None:
        """Until so many orders were handled."""
        wait_until(lambda: len(self.handled) >= count, PATIENCE_SECONDS, lambda: f"{self.begun}")

    def wait_until_begun(self, *numbers: int) -> list[int]:
        """Until these are being handled; by which processes."""

        def found() -> list[int]:
            processes = {number: pid for pid, number in self.begun}
            return [processes[n] for n in numbers] if set(numbers) <= set(processes) else []

        return wait_until(found, PATIENCE_SECONDS, lambda: f"{self.begun}")


class Fleet:
    """A supervisor, the processes it forked, and what all of them write."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.stdout: list[str] = []
        self.stderr: list[str] = []
        self._readers = [
            start_thread(_read, process.stdout, self.stdout),
            start_thread(_read, process.stderr, self.stderr),
        ]

    def ready(self) -> list[tuple[int, int]]:
        """Which process was ready, with which process id, in that order."""
        found = [re.fullmatch(r"\[(\d)\] Ready: pid (\d+)\.", line) for line in self.stdout]
        return [(int(match[1]), int(match[2])) for match in found if match]

    def wait_until_ready(self, count: int = 2) -> list[int]:
        """The process ids of the first so many that are, by their numbers."""
        wait_until(lambda: len(self.ready()) >= count, PATIENCE_SECONDS, self.story)
        return [pid for _, pid in sorted(self.ready()[:count])]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask the supervisor to end, and wait; its exit status."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait until nobody of them is left; the supervisor's exit status."""
        status = self.process.wait(TIMEOUT_SECONDS)
        for reader in self._readers:
            reader.join(PATIENCE_SECONDS)
            assert not reader.is_alive(), f"somebody is left: {self.story()}"
        return status

    def story(self) -> str:
        return "\n".join([*self.stdout, *self.stderr])


def _read(pipe: IO[str], lines: list[str]) -> None:
    """Until nobody has the pipe open any more."""
    for line in pipe:
        lines.append(line.rstrip("\n"))  # noqa: PERF401, each when it comes


@contextmanager
def fleet(orders: Orders, *options: str) -> Iterator[Fleet]:
    """Two processes, or as the options say; none is left behind."""
    arguments = options if "--processes" in options else ("--processes", "2", *options)
    with orders.project.start("run_subscriber", *arguments) as process:
        try:
            yield Fleet(process)
            assert process.poll() is not None, "it still runs at the end of the test"
        finally:
            for pid in running_in(orders.project.folder):
                os.kill(pid, signal.SIGKILL)


def running_in(folder: Path) -> list[int]:
    """The processes that were started in a folder that is a test's own, and run."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cwd").readlink() == folder and is_alive(int(process.name)):
                found.append(int(process.name))
    return found
