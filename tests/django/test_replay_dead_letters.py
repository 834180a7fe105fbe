"""``replay_dead_letters``: from queue and table back to the handlers, counted."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError
from pytest_django import Settings

from domain_event_broker import publish_domain_event
from domain_event_broker.django import background
from domain_event_broker.django.models import DeadLetter, OutboxEvent
from domain_event_broker.django.registry import Registry, registry
from domain_event_broker.errors import BrokerUnavailable
from domain_event_broker.settings import resolve
from domain_event_broker.transports.base import Outcome, PublishResult
from domain_event_broker.transports.memory import MemoryTransport, broker_for

from .command_runs import Failing, call, drain, replay
from .conftest import PASSWORD
from .databases import without_table
from .dead_letters.letters import declare, delivered, in_queue, letter, put, states, store, waiting
from .marks import both_databases
from .rows import DEFAULT
from .scripted import MakeScripted

pytestmark = both_databases


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def failing(handlers: Registry) -> list[Failing]:
    """Three handlers, each with dead letters: 0 for the last."""
    failing = [Failing(name) for name in ("bill", "mail", "stock")]
    failing[2].fails = False
    drain(verbosity=0)
    for number in range(3):
        publish_domain_event("order.placed", {"number": number})
    drain(verbosity=0)
    return failing


def correct(failing: list[Failing]) -> None:
    for handler in failing:
        handler.fails = False


def settled_by() -> set[str]:
    return set(DeadLetter.objects.exclude(state="waiting").values_list("settled_by", flat=True))


class TestReplaying:
    def test_without_names_all_are_replayed(self, failing: list[Failing]) -> None:
        assert replay() == "6 replayed, 0 left\n"

        correct(failing)
        drain(verbosity=0)
        assert [event.data["number"] for event in failing[0].handled] == [0, 1, 2]
        assert len(failing[1].handled) == len(failing[2].handled) == 3
        assert replay() == "There are no dead letters.\n"

    def test_only_those_named(self, failing: list[Failing]) -> None:
        assert replay("mail", "mail") == "3 replayed, 0 left\n"

        correct(failing)
        drain(verbosity=0)
        assert [len(handler.handled) for handler in failing] == [0, 3, 3]

    def test_those_left_are_of_the_same_handlers(self, failing: list[Failing]) -> None:
        assert replay("mail", "--limit", "1") == "1 replayed, 2 left\n"
        assert replay("--limit", "1") == "1 replayed, 4 left\n"

    def test_what_fails_again_is_a_dead_letter_again(self, failing: list[Failing]) -> None:
        replay()
        drain(verbosity=0)

        assert replay() == "6 replayed, 0 left\n"

    def test_the_row_tells_who_did_it(
        self, failing: list[Failing], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("getpass.getuser", lambda: "ada")
        monkeypatch.setattr("socket.gethostname", lambda: "desk")
        replay("bill")

        assert settled_by() == {"ada@desk"}

    def test_a_user_without_a_name_may_replay(
        self, failing: list[Failing], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail() -> str:
            raise KeyError("uid not found: 1000")

        monkeypatch.setattr("getpass.getuser", fail)
        replay("bill")

        (name,) = settled_by()
        assert name.startswith("?@")

    def test_by_what_is_chosen(self, failing: list[Failing]) -> None:
        put(letter("a", error_type="KeyError"))

        assert replay("--error", "KeyError", "--text", "NOT", "--newer-than", "1h") == (
            "1 replayed, 6 left\n"
        )

    def test_what_is_in_the_queues_is_collected_first(self, failing: list[Failing]) -> None:
        put(letter("a"), letter("b"))

        assert replay("bill") == "5 replayed, 0 left\n"
        assert in_queue() == 0

    def test_as_json(self, failing: list[Failing]) -> None:
        assert json.loads(replay("bill", "--json")) == {"replayed": 3, "left": 0}

    def test_silently(self, failing: list[Failing]) -> None:
        assert replay(verbosity=0) == ""
        assert set(states().values()) == {"replayed"}


class TestNothing:
    """Is no failure, and is told."""

    def test_a_handler_that_never_ran(self, handlers: Registry) -> None:
        Failing("bill")

        assert replay() == replay("bill") == "There are no dead letters.\n"
        assert json.loads(replay("--json")) == {"dead_letters": 0}

    @pytest.mark.parametrize(
        "option", ["--list", "--group", "--dry-run", "--interactive", "--discard", "--export=x"]
    )
    def test_whatever_is_asked_for(self, handlers: Registry, option: str) -> None:
        Failing("bill")

        assert replay(option) == "There are no dead letters.\n"

    def test_none_that_match(self, failing: list[Failing]) -> None:
        assert replay("--error", "NoSuchError") == "0 dead letters match; 6 wait.\n"
        assert replay("bill", "--id", "no such id") == "0 dead letters match; 3 wait.\n"
        assert replay("--after", "99999999") == "0 dead letters match; 6 wait.\n"
        assert json.loads(replay("--text", "x y z", "--json")) == {"matching": 0}
        assert set(states().values()) == {"waiting"}


class TestWithoutQueue:
    def test_they_stay_and_the_others_are_replayed(
        self, failing: list[Failing], broker: str
    ) -> None:
        settings = resolve(broker)
        assert settings is not None
        del broker_for(settings).queues["bill"]
        stdout = StringIO()

        with pytest.raises(CommandError, match=r"Without a queue to replay to: bill\. Start"):
            replay(stdout=stdout)

        assert stdout.getvalue() == "3 replayed, 3 left\n"
        drain(verbosity=0)  # makes the queue
        assert replay("bill") == "3 replayed, 0 left\n"

    def test_a_broker_that_answers_later_has_it_told_and_left(
        self, failing: list[Failing], script: MakeScripted, caplog: pytest.LogCaptureFixture
    ) -> None:
        scripted = script()
        scripted.answer = lambda message: PublishResult(Outcome.UNROUTABLE)

        stdout = StringIO()

        with pytest.raises(CommandError, match=r"Without a queue to replay to: bill, mail\. Start"):
            replay(stdout=stdout)

        assert stdout.getvalue() == "0 replayed, 6 left\n"
        assert caplog.text.count("is a dead letter again: The handler 'bill' has no queue") == 3
        assert set(states().values()) == {"waiting"}


class TestAHandlerThatIsNoMore:
    @pytest.fixture(autouse=True)
    def _gone(self, failing: list[Failing]) -> None:
        declare("gone")
        store(letter("a", handler="gone"), handler="gone")

    def test_it_may_be_named(self) -> None:
        assert replay("gone") == "1 replayed, 0 left\n"
        assert len(delivered("gone")) == 1

    def test_beside_one_that_is(self) -> None:
        assert replay("gone", "bill", "--dry-run") == "4 would be replayed.\n"

    def test_without_names_its_dead_letters_are_meant_too(self) -> None:
        assert replay("--dry-run") == "7 would be replayed.\n"

    def test_also_where_no_handler_is_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(registry, "_declarations", [])
        assert replay("gone") == "1 replayed, 0 left\n"


class TestBrokerAway:
    def test_what_is_collected_can_be_worked_on(
        self, failing: list[Failing], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(self: MemoryTransport, handler_name: str) -> None:
            raise BrokerUnavailable("Nobody is there.")

        put(letter("in the queue"))
        monkeypatch.setattr(MemoryTransport, "dead_letters", refuse)
        output = call("replay_dead_letters", "--list")

        assert output.stderr == (
            "What is still in the broker's queues is left out: Nobody is there.\n"
        )
        assert len(output.stdout.splitlines()) == 6
        assert call("replay_dead_letters", "bill").stdout == "3 replayed, 0 left\n"

    def test_on_rabbitmq_replays_wait_in_the_outbox(
        self, failing: list[Failing], settings: Settings
    ) -> None:
        settings.DOMAIN_EVENT_BROKER = {
            "URL": f"amqp://shop:{PASSWORD}@127.0.0.1:1",
            "PUBLISH_TIMEOUT": 0.5,
        }
        output = call("replay_dead_letters", "bill")
        background.publisher.close()

        assert "What is still in the broker's queues is left out: " in output.stderr
        assert PASSWORD not in output.stderr
        assert output.stdout == "3 replayed, 0 left\n"
        assert OutboxEvent.objects.filter(handler="bill").count() == 3


class TestProgress:
    def test_a_terminal_sees_a_bar(self, failing: list[Failing]) -> None:
        output = replay("bill", stdout=Terminal())

        steps = output.split("\r\x1b[K")
        assert f"[{'#' * 30}] 3/3 replayed" in steps
        # It is gone at the end.
        assert steps[-1] == "3 replayed, 0 left\n"

    def test_collecting_has_one_too(self, failing: list[Failing]) -> None:
        put(letter("a"))

        assert "] 1/1 collected of bill" in replay("--dry-run", stdout=Terminal())

    def test_nobody_else_does(self, failing: list[Failing]) -> None:
        assert "\r" not in replay("bill")

    @pytest.mark.parametrize("options", [{"verbosity": 0}, {}])
    def test_nor_who_wants_silence_or_json(
        self, failing: list[Failing], options: dict[str, Any]
    ) -> None:
        arguments = [] if options else ["--json"]
        assert "\r" not in replay("bill", *arguments, stdout=Terminal(), **options)


class TestRefusing:
    """One sentence, no traceback."""

    def test_an_unknown_handler(self, failing: list[Failing]) -> None:
        with pytest.raises(
            CommandError, match=r"^There is no handler 'mial'; known are mail, bill, stock\.$"
        ):
            replay("bill", "mial")

        assert replay() == "6 replayed, 0 left\n"

    def test_no_handlers(self, handlers: Registry) -> None:
        with pytest.raises(CommandError, match="No handler is registered"):
            replay()

    def test_no_broker(self, failing: list[Failing], settings: Settings) -> None:
        settings.DOMAIN_EVENT_BROKER = None

        with pytest.raises(CommandError, match="DOMAIN_EVENT_BROKER is None"):
            replay()

    def test_wrong_settings(self, failing: list[Failing], settings: Settings) -> None:
        settings.DOMAIN_EVENT_BROKER = f"amqp://user:{PASSWORD}@localhost?heartbeat=x"

        with pytest.raises(CommandError, match="heartbeat") as caught:
            replay()
        assert PASSWORD not in str(caught.value)

    @pytest.mark.parametrize("arguments", [[], ["bill"], ["--list"], ["--import", "x"]], ids=str)
    def test_no_table(self, failing: list[Failing], arguments: list[str]) -> None:
        with (
            without_table(DeadLetter, DEFAULT),
            pytest.raises(CommandError, match=r"has no table domain_event_broker_deadletter; run"),
        ):
            replay(*arguments)

    @pytest.mark.parametrize("value", ["", "h", "2 weeks", "2w", "-1h", "nan", "1e400d", "1e9d"])
    @pytest.mark.parametrize("option", ["--older-than", "--newer-than"])
    def test_a_wrong_age(self, handlers: Registry, option: str, value: str) -> None:
        with pytest.raises(CommandError, match=option):
            replay(f"{option}={value}")

    @pytest.mark.parametrize("value", ["0", "-1", "x", "1.5", ""])
    @pytest.mark.parametrize("option", ["--limit", "--after"])
    def test_a_wrong_number(self, handlers: Registry, option: str, value: str) -> None:
        with pytest.raises(CommandError, match=option):
            replay(f"{option}={value}")

    def test_two_things_at_once(self, handlers: Registry) -> None:
        with pytest.raises(CommandError, match="not allowed with"):
            replay("--list", "--discard")


def test_ids_of_events_and_their_own(failing: list[Failing]) -> None:
    pk, _ = store(letter("a"), letter("b"))

    assert replay("--id", str(pk), "--id", "b", "--id", "9" * 30, "--dry-run") == (
        "2 would be replayed.\n"
    )
    assert replay(f"--id={pk}") == "1 replayed, 7 left\n"
    assert "b" in waiting()
