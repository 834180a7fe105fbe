"""The test project as processes of their own, and what its ledgers and tables say."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.support.processes import ServerProcess, dying_with_us, stat_of, tail
from tests.support.waiting import wait_until

from .brokers import Broker
from .databases import Database
from .ledgers import Ledger, Ledgers
from .oracle import Effect, Verdict
from .plans import HANDLERS_OF

ROOT = Path(__file__).resolve().parents[2]
#: Far longer than anything should take, for machines that are busy elsewhere.
PATIENCE_SECONDS = 120.0
LEASE_SECONDS = 1.0

SETTINGS = """
from pathlib import Path

from tests.faults.ledgers import Ledgers

SECRET_KEY = "for tests"
USE_TZ = True
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "tests.faults.orders.urls"
INSTALLED_APPS = ["domain_event_broker.django", "tests.faults.orders"]
LEDGERS = Ledgers(Path(__file__).resolve().parent.parent)
# Deliveries, as handler and event, that end their process, and whether by reading where nothing is.
POISONS = []
ARE_POISONS_SEGFAULTS = False
# While this file is there, no handler ends.
HELD = LEDGERS.folder / "held"
# Whether each handler of an `order.three` places an order itself.
IS_ORDERING_AGAIN = False
# Dead letters that are collected, or decided on, together; by default as many as there are.
BATCH = None
# How often an event is retried before it has its effect, and how often it may be, by default as
# often; how long handlers, by their names, take for the first event of their process.
RETRIES = 0
MAX_RETRIES = None
# Whether all handlers fail.
FAILS = False
HANDLING_SECONDS = {}
# After how long, more or less, queues are bound again; by default as in any project.
BIND_SECONDS = None
# Whether the project is broken, and how.
INBOX = True
PUBLISHED_AT_ONCE = False
ACKED_FIRST = False
ACKED_BEFORE_COPIED = False
UNCONFIRMED = False
"""
BROKER_SETTINGS = {
    "LEASE": LEASE_SECONDS,
    "RECONNECT_DELAY": 0.1,
    "MAX_RECONNECT_DELAY": 0.5,
}


class DeadLetterRow(NamedTuple):
    """What is asked of a row of the table of dead letters."""

    handler: str
    event_id: str
    reason: str
    state: str
    attempts: int
    settled_by: str

    @property
    def effect(self) -> Effect:
        """What it is about."""
        return self.handler, self.event_id


class Process(ServerProcess):
    """A management command that runs; what it writes goes to a file."""

    def __init__(
        self, command: list[str], environment: dict[str, str], console: Path, folder: Path
    ) -> None:
        super().__init__(command, environment, console, folder)
        self._console = console

    @property
    def output(self) -> str:
        return self._console.read_text()

    @property
    def is_stopped(self) -> bool:
        """Whether it was stopped by a signal."""
        return stat_of(self.pid)[:1] == ["T"]

    def wait(self) -> int:
        """Wait for its end and return its exit status, negative after a signal."""
        wait_until(lambda: not self.is_running, PATIENCE_SECONDS, self.story)
        assert self.exit_status is not None
        return self.exit_status

    def wait_for(self, text: str) -> None:
        """Wait until it has written `text`."""

        def is_written() -> bool:
            assert self.is_running, self.story()
            return text in self.output

        wait_until(is_written, PATIENCE_SECONDS, self.story)

    def stop(self) -> None:
        """Ask it to end, and see that it does well."""
        self.signal(signal.SIGTERM)
        assert self.wait() == 0, self.story()

    def story(self) -> str:
        """What somebody wants to know if it fails."""
        return "\n".join([f"process {self.pid}, exit status {self.exit_status}:", self.output])


class Shop:
    """The project on a database and a broker; any number of its processes may run at once.

    They die with us, and by `kill_all`.
    """

    def __init__(self, folder: Path, database: Database, broker: Broker) -> None:
        self.folder = folder
        self.database = database
        self.broker = broker
        self.ledgers = Ledgers(folder)
        #: Who is at the terminal.
        self.user = "somebody"
        #: Told by the tests that kill them.
        self.servers_killed = 0
        self._numbers = itertools.count(1)
        self._processes: list[Process] = []
        self._settings = folder / "shop/settings.py"
        self._settings.parent.mkdir()
        self._settings.write_text(SETTINGS)
        self.set(DATABASES={"default": database.setting})
        self.set_broker()

    def set(self, **settings: object) -> None:
        """Add to the settings."""
        with self._settings.open("a") as file:
            file.writelines(f"{name} = {value!r}\n" for name, value in settings.items())

    def set_broker(self, **settings: object) -> None:
        """Add to the broker's settings."""
        self.set(DOMAIN_EVENT_BROKER={"URL": self.broker.setting, **BROKER_SETTINGS, **settings})

    # Processes

    def begin(self, *arguments: str) -> Process:
        """Start a management command."""
        return self.begin_module("django", *arguments)

    def begin_module(self, module: str, *arguments: str) -> Process:
        """Start a module as a program that knows the project's settings."""
        console = self.folder / f"{next(self._numbers)}-{arguments[0]}.console"
        command = [*dying_with_us(), sys.executable, "-W", "error", "-m", module, *arguments]
        process = Process(command, self._environment, console, self.folder)
        self._processes.append(process)
        return process

    def do(self, *arguments: str) -> str:
        """Run a management command to its good end; return what it wrote."""
        process = self.begin(*arguments)
        assert process.wait() == 0, process.output
        return process.output

    def begin_dying(self, point: str, nth: int, *arguments: str) -> Process:
        """Start a command that is killed at its n-th pass of a point."""
        return self.begin("signalled", "SIGKILL", point, str(nth), *arguments)

    def begin_stopping(self, point: str, nth: int, *arguments: str) -> Process:
        """Start a command that is stopped there."""
        return self.begin("signalled", "SIGSTOP", point, str(nth), *arguments)

    def begin_stopped(self, point: str, nth: int, *arguments: str) -> Process:
        """Start a command, and return when it was stopped there."""
        process = self.begin_stopping(point, nth, *arguments)
        wait_until(lambda: process.is_stopped, PATIENCE_SECONDS, lambda: process.output)
        return process

    def do_killed(self, point: str, nth: int, *arguments: str) -> None:
        """Run a command that is killed there."""
        see_killed(self.begin_dying(point, nth, *arguments))

    @contextmanager
    def held(self) -> Iterator[None]:
        """No handler ends in the block."""
        held = self.folder / "held"
        held.touch()
        try:
            yield
        finally:
            held.unlink()

    @contextmanager
    def subscriber(self) -> Iterator[Process]:
        """All handlers, from when they are ready; asked to end after the block."""
        process = self.begin("run_subscriber")
        process.wait_for("Ready:")
        yield process
        process.stop()

    @property
    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "shop.settings",
            "LOGNAME": self.user,
            "PYTHONPATH": f"{self.folder}{os.pathsep}{ROOT}",
            # Django's server is waited for by what it writes.
            "PYTHONUNBUFFERED": "1",
        }

    def kill_all(self) -> None:
        for process in self._processes:
            process.kill()

    # What there is

    def committed(self) -> dict[str, str]:
        """Routing keys by event id, of all transactions that committed."""
        return dict(self.database.rows("SELECT event_id, routing_key FROM orders_order"))

    def effects(self) -> list[Effect]:
        """Each as often as it happened."""
        return [
            (handler, event_id)
            for handler, event_id in self.database.rows(
                "SELECT handler, event_id FROM orders_effect"
            )
        ]

    def outbox_count(self) -> int:
        query = "SELECT COUNT(*) FROM domain_event_broker_outboxevent"
        return int(self.database.rows(query)[0][0])

    def dead_letters(self) -> list[DeadLetterRow]:
        """Those in the table, whatever was decided on them."""
        query = (
            "SELECT handler, event_id, reason, state, attempts, settled_by "
            "FROM domain_event_broker_deadletter ORDER BY id"
        )
        return [DeadLetterRow(*row) for row in self.database.rows(query)]

    def verdict(self) -> Verdict:
        effects = self.effects()
        committed = self.committed()
        wanted = [
            (handler, event_id)
            for event_id, key in committed.items()
            for handler in HANDLERS_OF[key]
        ]
        return Verdict.on(wanted, effects)

    @property
    def kills(self) -> int:
        """How many processes were killed, servers included."""
        ours = sum(each.exit_status == -signal.SIGKILL for each in self._processes)
        return ours + self.servers_killed

    # How it ends

    def see_exactly_once(self) -> None:
        """See that all that was committed had its effects, once, and nothing else any."""
        assert self.verdict().is_clean, self.story()
        # What the database says is committed is what it told the publishers, at least.
        committed = self.committed().keys()
        assert events_in(self.ledgers.commits) <= committed <= events_in(self.ledgers.attempts)
        started = {(fact["handler"], fact["event"]) for fact in self.ledgers.starts.read()}
        assert set(self.effects()) <= started

    def settle(self, *, is_loss_expected: bool = False) -> Verdict:
        """Run a subscriber until nothing waits any more and nothing is missing; judge then.

        Where something stays missing, fail.
        """

        def is_settled() -> bool:
            if self.outbox_count() or self.broker.waiting() != 0:
                return False
            return is_loss_expected or not self.verdict().lost

        is_quiet = False
        while not is_quiet:
            with self.subscriber():
                wait_until(is_settled, PATIENCE_SECONDS, self.story)
            # What it held, and gave back at its end, is seen now.
            is_quiet = is_settled()
        return self.verdict()

    def consoles(self) -> str:
        """All that its processes wrote so far."""
        return "".join(path.read_text() for path in self.folder.glob("*.console"))

    def story(self) -> str:
        """What somebody wants to know if it fails."""
        consoles = sorted(self.folder.glob("*.console"), key=lambda path: path.stat().st_mtime)
        lines = [f"{path.name}: {line}" for path in consoles for line in tail(path)]
        states = dict(Counter(each.state for each in self.dead_letters()))
        state = f"outbox {self.outbox_count()}, broker {self.broker.waiting()}, table {states}"
        return "\n".join([f"{self.verdict()}; {state}", *lines])


def events_in(ledger: Ledger) -> set[str]:
    """All events that the publishers noted in a ledger."""
    return {event for fact in ledger.read() for event in fact["events"]}


def see_killed(process: Process) -> None:
    """See that it came to the point where it is killed."""
    assert process.wait() == -signal.SIGKILL, process.output
