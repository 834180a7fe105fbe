"""``replay_domain_event``: the command of 3.x, on the broker's own queues of dead letters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError
from pytest_django import Settings

from domain_event_broker.django.models import DeadLetter
from tests.support.ports import free_ports

from .answers import answering
from .command_runs import call
from .conftest import PASSWORD
from .databases import unreachable, without_table
from .dead_letters.letters import (
    body_of,
    declare,
    delivered,
    foreign,
    in_queue,
    letter,
    put,
    store,
    waiting,
)
from .marks import both_databases
from .project import Project
from .rows import DEFAULT

pytestmark = both_databases

LEFT = "dead-lettered events remaining for"
QUESTION = "(R)eplay, (D)iscard or (L)eave? "


@pytest.fixture(autouse=True)
def _queues(broker: str) -> None:
    declare("bill")
    declare("mail")


def replay(*arguments: str) -> str:
    return call("replay_domain_event", *arguments).stdout


def ids_in_queue() -> list[str | None]:
    return [message.message_id for message in delivered("bill-dl", count=in_queue())]


class TestReplaying:
    def test_the_first_only(self) -> None:
        put(letter("a"), letter("b"), letter("c"))

        assert replay("bill") == f"2 {LEFT} bill\n"
        (message,) = delivered()
        assert message.message_id == "a"
        assert "deb-reason" not in message.headers
        assert in_queue() == 2

    def test_all(self) -> None:
        put(letter("a"), letter("b"), letter("c"))

        assert replay("bill", "--all") == f"0 {LEFT} bill\n"
        assert [message.message_id for message in delivered(count=3)] == ["a", "b", "c"]

    def test_several_queues(self) -> None:
        put(letter("a"), letter("b"))
        put(letter("c"), handler="mail")

        assert replay("bill", "mail") == f"1 {LEFT} bill\n0 {LEFT} mail\n"
        assert len(delivered("mail")) == 1

    def test_none(self) -> None:
        assert replay("bill") == replay("bill", "--all") == f"0 {LEFT} bill\n"


class TestInteractive:
    def test_each_is_decided_on_by_itself(self, monkeypatch: pytest.MonkeyPatch) -> None:
        put(letter("a"), letter("b"), letter("c"))
        answering(monkeypatch, "r", "d", "l")
        told = replay("bill", "--all", "--interactive")

        assert told.count("Please specify action for:") == told.count(QUESTION) == 3
        assert told.endswith(f"1 {LEFT} bill\n")
        for line in (
            "Message is returned to worker queue.",
            "Message has been discarded.",
            "Message left in queue.",
        ):
            assert told.count(line) == 1
        assert [message.message_id for message in delivered()] == ["a"]
        assert in_queue() == 1

    def test_the_first_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        put(letter("a"), letter("b"))
        answering(monkeypatch, "R")

        assert replay("bill", "--interactive").count(QUESTION) == 1

    @pytest.mark.parametrize("answers", [["l"], [""], ["what?"], []], ids=str)
    def test_anything_else_leaves_it(
        self, monkeypatch: pytest.MonkeyPatch, answers: list[str]
    ) -> None:
        put(letter("a"))
        answering(monkeypatch, *answers)

        assert replay("bill", "--interactive").endswith(f"1 {LEFT} bill\n")
        assert in_queue() == 1

    def test_the_payload_is_shown_as_json(self, monkeypatch: pytest.MonkeyPatch) -> None:
        put(foreign("a", body=body_of("a", data={"name": "é"})))
        answering(monkeypatch)
        told = replay("bill", "--interactive")

        shown = json.loads(told[told.index("{") : told.rindex("}") + 1])
        assert (shown["data"], shown["uuid_string"]) == ({"name": "é"}, "a")

    def test_as_the_project_redacts_it(
        self, broker: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def hide(routing_key: str, data: Any) -> str:
            return f"(hidden on {routing_key})"

        settings.DOMAIN_EVENT_BROKER = {"URL": broker, "REDACT_PAYLOAD": hide}
        put(foreign("a", body=body_of("a", data={"card": "1234"})))
        answering(monkeypatch)
        told = replay("bill", "--interactive")

        assert "(hidden on order.placed)" in told
        assert "1234" not in told

    @pytest.mark.parametrize(
        "body", [b"\xff\x1b[2J", b"{", b"", b"[" * 100_000, b'"\x9b31m"', b'{"a": "\\ud800"}']
    )
    def test_whatever_it_is_it_rules_no_terminal(
        self, monkeypatch: pytest.MonkeyPatch, body: bytes
    ) -> None:
        put(foreign("a", body=body))
        answering(monkeypatch, "d")
        told = replay("bill", "--interactive")

        assert all(line.isprintable() for line in told.split("\n"))
        assert in_queue() == 0


class TestCollected:
    """What `run_subscriber` has put into the table is not here, which is told."""

    def test_how_many_and_where(self) -> None:
        store(letter("a"), letter("b"))
        put(letter("c"))
        store(letter("d"), handler="other")

        assert replay("bill") == (
            f"0 {LEFT} bill\n2 more are collected in the database: see replay_dead_letters.\n"
        )
        assert waiting() == ["a", "b", "d"]

    def test_without_the_table(self) -> None:
        put(letter("a"))
        with without_table(DeadLetter, DEFAULT):
            assert replay("bill") == f"0 {LEFT} bill\n"

    def test_without_the_database(self) -> None:
        put(letter("a"))
        with unreachable(DEFAULT):
            assert replay("bill") == f"0 {LEFT} bill\n"


def test_a_project_that_has_no_database(project: Project) -> None:
    project.set(DATABASES={}, DOMAIN_EVENT_BROKER={"URL": "memory://project", "OUTBOX": False})
    project.write("orders/domain_events.py", "")
    project.write(
        "orders/management/commands/demonstrate.py",
        """
        from django.core.management import BaseCommand, call_command

        from domain_event_broker import DomainEvent, Subscriber, publish_domain_event


        def fail(event: DomainEvent) -> None:
            raise ValueError("no")


        class Command(BaseCommand):
            def handle(self, **options):
                subscriber = Subscriber()
                subscriber.register(fail, "bill", ["order.*"], dead_letter=True)
                for _ in range(2):
                    publish_domain_event("order.placed", {})
                subscriber.start_consuming(max_events=2)
                call_command("replay_domain_event", "bill")
        """,
    )
    finished = project.run("demonstrate")

    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == f"1 {LEFT} bill\n"


class TestRefusing:
    def test_a_handler_that_never_ran(self) -> None:
        put(letter("a"))
        with pytest.raises(CommandError, match="The handler 'nobody' has no dead-letter queue"):
            replay("nobody")

    def test_no_queue_to_go_back_to(self) -> None:
        declare("gone-dl", "none")
        put(letter("a"), handler="gone")
        with pytest.raises(CommandError, match="The handler 'gone' has no queue to replay to"):
            replay("gone")

        assert in_queue("gone") == 1

    def test_no_name(self) -> None:
        with pytest.raises(CommandError, match="QUEUE"):
            replay()

    def test_no_broker(self, settings: Settings) -> None:
        settings.DOMAIN_EVENT_BROKER = None
        with pytest.raises(CommandError, match="DOMAIN_EVENT_BROKER is None"):
            replay("bill")

    def test_a_broker_that_is_away(self, settings: Settings) -> None:
        settings.DOMAIN_EVENT_BROKER = f"amqp://shop:{PASSWORD}@127.0.0.1:{free_ports(1)[0]}"
        with pytest.raises(CommandError, match="No connection to") as caught:
            replay("bill")

        assert PASSWORD not in str(caught.value)


def test_it_is_installed(project: Project, tmp_path: Path) -> None:
    finished = project.run("replay_domain_event", "--help")

    assert finished.returncode == 0
    assert "--interactive" in finished.stdout
