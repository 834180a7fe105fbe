"""The commands as processes of their own: signals, exit statuses, and what a terminal shows."""

from __future__ import annotations

import os
import pty
import signal
import subprocess

import pytest

from tests.support.ports import free_ports
from tests.support.waiting import wait_until

from .conftest import PASSWORD
from .project import TIMEOUT_SECONDS, Project

# The broker in memory lives in the process that runs the handlers, so a thread publishes there.
PUBLISHING = """
import threading
import time
from pathlib import Path

from domain_event_broker import DomainEvent, Outcome, publish_domain_events


def publish():
    (result,) = publish_domain_events([DomainEvent("order.placed", {"card": "1234-5678"})])
    while result.outcome is not Outcome.CONFIRMED:
        time.sleep(0.01)
        (result,) = publish_domain_events([DomainEvent("order.placed", {"card": "1234-5678"})])


threading.Thread(target=publish, daemon=True).start()
folder = Path(__file__).resolve().parent
"""
WAITING = f"""{PUBLISHING}
from domain_event_broker.django import domain_event_handler


@domain_event_handler("order.placed", name="reserve")
def reserve(event):
    (folder / "started").touch()
    while not (folder / "go").exists():
        time.sleep(0.01)
    (folder / "finished").touch()
"""
FAILING = f"""{PUBLISHING}
from domain_event_broker.django import domain_event_handler


@domain_event_handler("order.placed", name="reserve", dead_letter=DEAD_LETTER)
def reserve(event):
    raise ValueError("out of stock")
"""

QUIET = {"DOMAIN_EVENT_BROKER": {"URL": "memory://project", "UNROUTABLE": "ignore"}}


@pytest.fixture
def waiting(project: Project) -> Project:
    """Its handler waits until the file orders/go is there."""
    project.write("orders/domain_events.py", WAITING)
    project.set(**QUIET)
    return project


def exists(project: Project, name: str) -> bool:
    return (project.folder / "orders" / name).exists()


def until_started(project: Project, process: subprocess.Popen[str]) -> None:
    def has_started() -> bool:
        assert process.poll() is None, process.communicate()
        return exists(project, "started")

    wait_until(has_started, 30, "the handler was not called")


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_the_first_lets_the_handler_finish(
        self, waiting: Project, number: signal.Signals
    ) -> None:
        with waiting.start("run_subscriber") as process:
            until_started(waiting, process)
            process.send_signal(number)
            (waiting.folder / "orders/go").touch()
            stdout, stderr = process.communicate(timeout=TIMEOUT_SECONDS)

        assert exists(waiting, "finished")
        assert (process.returncode, stderr) == (0, "")
        assert stdout == "Ready: running 1 handler on memory://project.\n"

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_the_second_ends_at_once(self, waiting: Project, number: signal.Signals) -> None:
        with waiting.start("run_subscriber") as process:
            until_started(waiting, process)

            def is_gone() -> bool:
                # Two that come too close are one.
                process.send_signal(number)
                return process.poll() is not None

            wait_until(is_gone, 30, "it went on")

        assert process.returncode == 128 + number
        assert not exists(waiting, "finished")

    def test_the_handler_gets_so_much_time(self, waiting: Project) -> None:
        # What is left has its database connection open, of which Python tells from 3.13 on.
        without_inbox = WAITING.replace('name="reserve"', 'name="reserve", inbox=False')
        waiting.write("orders/domain_events.py", without_inbox)
        with waiting.start("run_subscriber", "--shutdown-timeout", "0.01") as process:
            until_started(waiting, process)
            process.send_signal(signal.SIGTERM)
            _, stderr = process.communicate(timeout=TIMEOUT_SECONDS)

        assert process.returncode == 0
        assert stderr == "A handler is still running after the shutdown timeout; leaving it.\n"
        assert not exists(waiting, "finished")

    def test_it_may_still_be_waiting_for_the_broker(self, project: Project) -> None:
        port = free_ports(1)[0]
        project.set(DOMAIN_EVENT_BROKER=f"amqp://user:{PASSWORD}@127.0.0.1:{port}/")
        with project.start("run_subscriber") as process:
            assert process.stderr is not None
            line = process.stderr.readline()
            process.send_signal(signal.SIGTERM)
            stdout, stderr = process.communicate(timeout=TIMEOUT_SECONDS)

        assert "next try in" in line
        assert str(port) in line
        assert process.returncode == 0
        assert PASSWORD not in line + stdout + stderr
        assert "Traceback" not in stderr


class TestFailures:
    """Nobody has configured logging: one line for each, however Python would log it."""

    @pytest.mark.parametrize(
        ("dead_letter", "ending"), [(True, "dead-lettered"), (False, "discarded")]
    )
    def test_a_failure_is_one_line(self, project: Project, dead_letter: bool, ending: str) -> None:
        finished = self.run(project, dead_letter)

        assert finished.returncode == 0
        (line,) = finished.stderr.splitlines()
        assert line.startswith("reserve: event ")
        assert line.endswith(f"('order.placed') was {ending} (error): ValueError: out of stock")

    def test_debugging_shows_the_traceback(self, project: Project) -> None:
        finished = self.run(project, True, "--verbosity", "3")

        assert "Traceback (most recent call last)" in finished.stderr
        assert 'raise ValueError("out of stock")' in finished.stderr
        assert "1234-5678" not in finished.stdout + finished.stderr

    def test_silence_is_silence(self, project: Project) -> None:
        finished = self.run(project, True, "--verbosity", "0")

        assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")

    def test_configured_logging_is_left_alone(self, project: Project) -> None:
        project.set(
            LOGGING={
                "version": 1,
                "handlers": {"file": {"class": "logging.FileHandler", "filename": "log"}},
                "loggers": {"domain_event_broker": {"handlers": ["file"], "level": "INFO"}},
            }
        )
        finished = self.run(project, True)

        assert len(finished.stderr.splitlines()) == 1
        log = (project.folder / "log").read_text()
        assert log.count("dead-lettered") == 1
        assert "Traceback" in log
        assert "1234-5678" not in log

    def run(
        self, project: Project, dead_letter: bool, *options: str
    ) -> subprocess.CompletedProcess[str]:
        project.write("orders/domain_events.py", FAILING.replace("DEAD_LETTER", str(dead_letter)))
        project.set(**QUIET)
        return project.run("run_subscriber", "--max-events", "1", *options)


class TestRefusing:
    """One sentence and another status, without a traceback."""

    @pytest.mark.parametrize("command", ["run_subscriber", "replay_dead_letters"])
    @pytest.mark.parametrize(
        ("arguments", "setting", "message"),
        [
            (["revers"], "memory://project", "There is no handler 'revers'; known are reserve."),
            ([], None, "DOMAIN_EVENT_BROKER is None: there is no broker to talk to."),
        ],
    )
    def test_in_one_sentence(
        self,
        project: Project,
        command: str,
        arguments: list[str],
        setting: object,
        message: str,
    ) -> None:
        project.set(DOMAIN_EVENT_BROKER=setting)
        finished = project.run(command, *arguments)

        assert finished.returncode == 1
        assert finished.stdout == ""
        assert finished.stderr == f"CommandError: {message}\n"

    @pytest.mark.parametrize(
        "command",
        [
            ["check"],
            ["run_subscriber"],
            ["run_subscriber", "--skip-checks"],
            ["replay_dead_letters", "--skip-checks"],
        ],
        ids=" ".join,
    )
    def test_wrong_settings(self, project: Project, command: list[str]) -> None:
        project.set(DOMAIN_EVENT_BROKER={"URL": f"amqp://user:{PASSWORD}@host/", "PREFETSH": 1})
        finished = project.run(*command)

        assert finished.returncode == 1
        assert "Did you mean 'PREFETCH'?" in finished.stderr
        assert "Traceback" not in finished.stderr
        assert PASSWORD not in finished.stdout + finished.stderr

    def test_missing_tables(self, unmigrated: Project) -> None:
        finished = unmigrated.run("run_subscriber")

        assert finished.returncode == 1
        assert finished.stdout == ""
        (line,) = finished.stderr.splitlines()
        assert line.startswith("CommandError: The database 'default' has no table ")
        assert "python manage.py migrate" in line

    @pytest.mark.parametrize("command", ["run_subscriber", "replay_dead_letters", "check"])
    def test_a_wrong_handler_with_its_place(self, project: Project, command: str) -> None:
        project.write(
            "orders/domain_events.py",
            """
            from domain_event_broker.django import domain_event_handler

            @domain_event_handler(["order.placed"], name="amq.reserve", max_retry=3)
            def reserve(event):
                pass
            """,
        )
        finished = project.run(command)

        assert finished.returncode == 1
        for code in ("E004", "E005", "E011"):
            assert f"orders/domain_events.py:4: (domain_event_broker.{code})" in finished.stderr
        assert "Traceback" not in finished.stderr


def test_no_other_app_is_needed(project: Project) -> None:
    assert project.run("check").stdout == "System check identified no issues (0 silenced).\n"
    finished = project.run("run_subscriber", "--drain", "--verbosity", "2")
    assert finished.returncode == 0
    assert finished.stdout.splitlines() == [
        "Ready: running 1 handler on memory://project.",
        "  reserve: order.placed",
    ]
    assert project.run("replay_dead_letters").stdout == "There are no dead letters.\n"
    assert project.run("makemigrations", "--check", "--dry-run").returncode == 0


def test_no_database_is_needed_without_an_inbox(project: Project) -> None:
    project.write(
        "orders/domain_events.py",
        """
        from domain_event_broker.django import domain_event_handler

        @domain_event_handler("order.placed", name="reserve", inbox=False)
        def reserve(event):
            pass
        """,
    )
    project.set(DATABASES={})

    assert project.run("check").returncode == 0
    assert project.run("run_subscriber", "--drain").returncode == 0


def test_a_progress_bar_shows_on_a_terminal(project: Project) -> None:
    project.write("orders/domain_events.py", FAILING.replace("DEAD_LETTER", "True"))
    project.write(
        "orders/management/commands/demonstrate.py",
        """
        from django.core.management import BaseCommand, call_command


        class Command(BaseCommand):
            def handle(self, **options):
                call_command("run_subscriber", max_events=1, verbosity=0)
                call_command("replay_dead_letters")
        """,
    )
    project.set(**QUIET)
    ours, theirs = pty.openpty()
    try:
        with project.start("demonstrate", stdout=theirs) as process:
            os.close(theirs)
            shown = read_all(ours)
    finally:
        os.close(ours)

    assert process.returncode == 0
    assert "] 1/1 replayed" in shown
    assert shown.endswith("\x1b[K1 replayed, 0 left\r\n")


def read_all(descriptor: int) -> str:
    read = b""
    while True:
        try:
            part = os.read(descriptor, 4096)
        except OSError:  # Linux's way to say that nobody has the terminal open any more
            part = b""
        if not part:
            return read.decode()
        read += part
