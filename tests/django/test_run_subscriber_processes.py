"""``run_subscriber --processes``: real processes, real signals, on the project's own database."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import pytest

from tests.support.processes import children_of, is_alive
from tests.support.waiting import wait_until

from .fleets import LEASE_SECONDS, PATIENCE_SECONDS, Orders, fleet, running_in
from .project import Project

SHARED = {"DOMAIN_EVENT_BROKER": {"URL": "database://", "LEASE": LEASE_SECONDS}}


@pytest.fixture
def orders(project: Project) -> Orders:
    project.set(**SHARED)
    return Orders(project)


class TestRunning:
    def test_each_tells_that_it_is_ready_and_what_they_run_is_told_once(
        self, orders: Orders
    ) -> None:
        with fleet(orders, "--verbosity", "2") as two:
            pids = two.wait_until_ready()
            assert two.end() == 0

        assert two.stdout[:2] == [
            "Starting 2 processes, each running 1 handler on database://.",
            "  reserve: order.*",
        ]
        assert sorted(two.stdout[2:]) == [
            f"[{n}] Ready: pid {pid}." for n, pid in enumerate(pids, 1)
        ]
        assert two.stderr == []

    def test_they_share_what_there_is(self, orders: Orders) -> None:
        orders.hold()
        with fleet(orders) as two:
            pids = two.wait_until_ready()
            orders.place(1, 2)
            assert sorted(orders.wait_until_begun(1, 2)) == sorted(pids)
            orders.let_go()
            orders.wait_for(2)
            assert two.end() == 0

        assert sorted(orders.handled) == [1, 2]
        assert two.stderr == []

    def test_one_of_them_relays_the_outbox_and_collects_dead_letters(self, orders: Orders) -> None:
        orders.hold()
        with fleet(orders) as two:
            first, second = two.wait_until_ready()
            orders.place(1, 2)
            orders.wait_until_begun(1, 2)
            orders.let_go()
            assert two.end() == 0

        threads = {int(words[0]): set(words[1:]) for words in orders.noted("threads")}
        tending = {"domain-event-broker-relay", "domain-event-broker-dead-letters"}
        assert tending <= threads[first]
        assert not tending & threads[second]

    def test_each_runs_so_many_at_once(self, orders: Orders) -> None:
        orders.project.write(
            "orders/domain_events.py",
            (orders.project.folder / "orders/domain_events.py")
            .read_text()
            .replace('name="reserve"', 'name="reserve", concurrency=2'),
        )
        orders.hold()
        with fleet(orders, "--processes", "2") as two:
            pids = two.wait_until_ready()
            orders.place(1, 2, 3, 4)
            assert sorted(orders.wait_until_begun(1, 2, 3, 4)) == sorted(pids * 2)
            orders.let_go()
            assert two.end() == 0

        assert sorted(orders.handled) == [1, 2, 3, 4]

    def test_what_called_the_command_goes_on_once(self, orders: Orders) -> None:
        orders.project.write(
            "orders/management/commands/and_then.py",
            """
            from django.core.management import BaseCommand, call_command


            class Command(BaseCommand):
                def handle(self, **options):
                    call_command("run_subscriber", processes=2, drain=True)
                    self.stdout.write("and then")
            """,
        )
        finished = orders.project.run("and_then")

        assert finished.returncode == 0
        assert finished.stdout.count("and then") == 1


class TestDying:
    def test_one_that_is_killed_is_replaced_and_its_event_handled(self, orders: Orders) -> None:
        orders.hold()
        with fleet(orders) as two:
            two.wait_until_ready()
            orders.place(1)
            (pid,) = orders.wait_until_begun(1)
            os.kill(pid, signal.SIGKILL)
            number = next(number for number, each in two.ready() if each == pid)
            two.wait_until_ready(3)
            orders.let_go()
            orders.wait_for(1)
            assert two.end() == 0

        assert [each for each, _ in two.ready()].count(number) == 2
        assert orders.handled == [1]
        (line,) = two.stderr
        assert line.startswith(f"Process {number} (pid {pid}) was killed by SIGKILL")
        assert "another takes its place in " in line

    def test_the_one_that_relays_is_replaced_by_one_that_does(self, orders: Orders) -> None:
        with fleet(orders) as two:
            first, _ = two.wait_until_ready()
            os.kill(first, signal.SIGKILL)
            two.wait_until_ready(3)
            (_, again) = two.ready()[-1]
            orders.hold()
            orders.place(1, 2)
            assert again in orders.wait_until_begun(1, 2)
            orders.let_go()
            assert two.end() == 0

        threads = {int(words[0]): set(words[1:]) for words in orders.noted("threads")}
        assert "domain-event-broker-relay" in threads[again]

    def test_one_that_somebody_ends_is_replaced_too(self, orders: Orders) -> None:
        with fleet(orders) as two:
            _, second = two.wait_until_ready()
            os.kill(second, signal.SIGTERM)
            two.wait_until_ready(3)
            assert two.end() == 0

        assert sorted(number for number, _ in two.ready()) == [1, 2, 2]
        (line,) = two.stderr
        assert line.startswith(f"Process 2 (pid {second}) ended with status 0 after ")

    def test_what_it_failed_with_is_shown(self, orders: Orders) -> None:
        """It is no mistake of the configuration, so it may go well the next time."""
        orders.project.write(
            "orders/apps.py",
            """
            from pathlib import Path

            from django.apps import AppConfig

            failed = Path(__file__).resolve().parent / "failed"


            class Orders(AppConfig):
                name = "orders"

                def ready(self):
                    from domain_event_broker.django.running import HandlerRun

                    def fail_once(self):
                        if not failed.exists():
                            failed.touch()
                            raise RuntimeError("out of luck")
                        run(self)

                    run, HandlerRun.run = HandlerRun.run, fail_once
            """,
        )
        with fleet(orders) as two:
            two.wait_until_ready()
            assert two.end() == 0

        assert "RuntimeError: out of luck" in two.stderr
        assert any("ended with status 1 after " in line for line in two.stderr)

    def test_where_none_can_be_forked_it_is_tried_again(self, orders: Orders) -> None:
        orders.project.write(
            "orders/apps.py",
            """
            import errno
            import os

            from django.apps import AppConfig


            def refuse():
                os.fork = fork
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


            class Orders(AppConfig):
                name = "orders"

                def ready(self):
                    os.fork = refuse


            fork = os.fork
            """,
        )
        with fleet(orders) as two:
            two.wait_until_ready()
            assert two.end() == 0

        (line,) = two.stderr
        assert line.startswith("Process 1 cannot be started: [Errno 11] ")
        assert "(next try in " in line


class TestEnding:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_the_first_signal_lets_the_handlers_finish(
        self, orders: Orders, number: signal.Signals
    ) -> None:
        orders.hold()
        with fleet(orders) as two:
            two.wait_until_ready()
            orders.place(1, 2, 3)
            orders.wait_until_begun(1, 2)
            two.process.send_signal(number)
            orders.let_go()
            assert two.wait() == 0

        assert sorted(orders.handled) == [1, 2]
        assert two.stderr == []
        assert running_in(orders.project.folder) == []

    def test_also_where_all_of_them_get_it(self, orders: Orders) -> None:
        """As from systemd, or a terminal: those who are told twice were not asked twice."""
        orders.hold()
        with fleet(orders) as two:
            pids = two.wait_until_ready()
            orders.place(1, 2)
            orders.wait_until_begun(1, 2)
            for pid in [*pids, two.process.pid]:
                os.kill(pid, signal.SIGTERM)
            orders.let_go()
            assert two.wait() == 0

        assert sorted(orders.handled) == [1, 2]
        assert two.stderr == []

    def test_also_before_they_are_ready(self, orders: Orders) -> None:
        """They keep it until they can handle it, and do not die of it."""
        with fleet(orders, "--processes", "4") as four:
            wait_until(
                lambda: children_of(four.process.pid), PATIENCE_SECONDS, interval_seconds=0.001
            )
            for pid in [four.process.pid, *children_of(four.process.pid)]:
                with suppress(ProcessLookupError):  # it may have ended already
                    os.kill(pid, signal.SIGTERM)
            assert four.wait() == 0

        assert four.stderr == []

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_the_second_signal_ends_all_at_once(
        self, orders: Orders, number: signal.Signals
    ) -> None:
        orders.hold()
        with fleet(orders) as two:
            two.wait_until_ready()
            orders.place(1, 2)
            orders.wait_until_begun(1, 2)

            def is_gone() -> bool:
                # Two that come too close are one.
                two.process.send_signal(number)
                return two.process.poll() is not None

            wait_until(is_gone, PATIENCE_SECONDS, "it went on")
            assert two.wait() == 128 + number
            wait_until(lambda: not running_in(orders.project.folder), PATIENCE_SECONDS)

        assert orders.handled == []

    def test_they_end_with_their_supervisor_however_it_ends(self, orders: Orders) -> None:
        orders.hold()
        with fleet(orders) as two:
            pids = two.wait_until_ready()
            orders.place(1, 2)
            orders.wait_until_begun(1, 2)
            two.process.kill()
            two.process.wait()
            orders.let_go()
            two.wait()
            wait_until(lambda: not any(map(is_alive, pids)), PATIENCE_SECONDS)

        assert sorted(orders.handled) == [1, 2]

    def test_one_that_is_killed_while_all_end_is_told(self, orders: Orders) -> None:
        orders.hold()
        with fleet(orders) as two:
            two.wait_until_ready()
            orders.place(1, 2)
            first, _ = orders.wait_until_begun(1, 2)
            two.process.send_signal(signal.SIGTERM)
            os.kill(first, signal.SIGKILL)
            orders.let_go()
            assert two.wait() == 1

        assert orders.handled == [2]
        assert any(f"(pid {first}) was killed by SIGKILL" in line for line in two.stderr)
        assert two.stderr[-1] == "CommandError: A process ended with status 1, as was told above."

    @pytest.mark.parametrize(
        "limit", [["--drain"], ["--max-events", "1"], ["--time-limit", "3"]], ids=" ".join
    )
    def test_one_that_is_done_is_not_replaced(self, orders: Orders, limit: list[str]) -> None:
        orders.declare()
        orders.place(1, 2)
        with fleet(orders, *limit) as two:
            assert two.wait() == 0

        assert sorted(orders.handled) == [1, 2]
        assert len(two.ready()) == 2
        assert two.stderr == []


class TestRefusing:
    def test_a_mistake_that_all_make_is_told_once(self, unmigrated: Project) -> None:
        unmigrated.set(**SHARED)
        with fleet(Orders(unmigrated), "--processes", "3") as three:
            assert three.wait() == 78

        (line,) = three.stderr
        assert line.startswith("CommandError: The database 'default' lacks a table ")
        assert "python manage.py migrate" in line

    @pytest.mark.parametrize(
        ("arguments", "setting", "message"),
        [
            (["revers"], "database://", "There is no handler 'revers'; known are reserve."),
            ([], None, "DOMAIN_EVENT_BROKER is None: there is no broker to talk to."),
            ([], "memory://project", "memory://project is in one process: run only that one."),
            (
                ["--threads", "257"],
                "database://",
                "threads must be a whole number from 1 to 256, not 257.",
            ),
        ],
    )
    def test_what_is_wrong_from_the_start_starts_none(
        self, project: Project, arguments: list[str], setting: object, message: str
    ) -> None:
        project.set(DOMAIN_EVENT_BROKER=setting)
        finished = project.run("run_subscriber", "--processes", "2", *arguments)

        assert (finished.returncode, finished.stdout) == (1, "")
        assert finished.stderr == f"CommandError: {message}\n"

    def test_a_handler_that_one_process_has_for_itself(self, project: Project) -> None:
        project.set(**SHARED)
        project.write(
            "orders/domain_events.py",
            """
            from domain_event_broker.django import domain_event_handler

            @domain_event_handler("order.placed", name="mine", exclusive=True)
            def mine(event):
                pass
            """,
        )
        finished = project.run("run_subscriber", "--processes", "2")

        assert finished.returncode == 1
        assert finished.stderr.startswith("CommandError: The handler 'mine' is exclusive, ")
