"""``replay_dead_letters``: back to the handler, counted, with the rest told."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from domain_event_broker import publish_domain_event
from domain_event_broker.django.registry import Registry
from domain_event_broker.settings import resolve
from domain_event_broker.transports.memory import broker_for

from .command_runs import Failing, replay
from .conftest import PASSWORD
from .marks import both_databases

pytestmark = both_databases


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def run_subscriber() -> None:
    call_command("run_subscriber", drain=True, verbosity=0)


@pytest.fixture
def failing(handlers: Registry) -> list[Failing]:
    """Three handlers, each with dead letters: 0 for the last."""
    failing = [Failing(name) for name in ("bill", "mail", "stock")]
    failing[2].fails = False
    run_subscriber()
    for number in range(3):
        publish_domain_event("order.placed", {"number": number})
    run_subscriber()
    return failing


def correct(failing: list[Failing]) -> None:
    for handler in failing:
        handler.fails = False


def test_without_names_all_are_replayed(failing: list[Failing]) -> None:
    output = replay()

    assert output == (
        "bill: 3 replayed, 0 left\nmail: 3 replayed, 0 left\nTotal: 6 replayed, 0 left\n"
    )
    correct(failing)
    run_subscriber()
    assert [event.data["number"] for event in failing[0].handled] == [0, 1, 2]
    assert len(failing[1].handled) == len(failing[2].handled) == 3
    assert replay() == "There are no dead letters.\n"


def test_only_those_named(failing: list[Failing]) -> None:
    output = replay("mail", "mail")

    assert output == "mail: 3 replayed, 0 left\nTotal: 3 replayed, 0 left\n"
    correct(failing)
    run_subscriber()
    assert [len(handler.handled) for handler in failing] == [0, 3, 3]


def test_what_fails_again_is_a_dead_letter_again(failing: list[Failing]) -> None:
    replay()
    run_subscriber()

    assert "Total: 6 replayed" in replay()


def test_a_handler_that_never_ran_has_no_dead_letters(handlers: Registry) -> None:
    Failing("bill")

    assert replay() == "There are no dead letters.\n"


def test_silently(failing: list[Failing]) -> None:
    assert replay(verbosity=0) == ""


def test_a_queue_that_is_gone_is_told_and_the_others_are_replayed(
    failing: list[Failing], broker: str
) -> None:
    settings = resolve(broker)
    assert settings is not None
    del broker_for(settings).queues["bill"]
    stdout, stderr = StringIO(), StringIO()

    with pytest.raises(CommandError, match=r"^3 replayed; some could not be, of: bill\.$"):
        call_command("replay_dead_letters", stdout=stdout, stderr=stderr)

    assert stdout.getvalue() == "mail: 3 replayed, 0 left\n"
    assert "bill: 0 replayed, then: The handler 'bill' has no queue" in stderr.getvalue()
    run_subscriber()  # makes the queue
    assert "bill: 3 replayed" in replay()


class TestProgress:
    def test_a_terminal_sees_a_bar(self, failing: list[Failing]) -> None:
        output = replay("bill", stdout=Terminal())

        steps = output.split("\r\x1b[K")
        assert steps[1].endswith("] 0/3 bill")
        assert steps[2].endswith("] 1/3 bill")
        assert steps[4] == f"[{'#' * 30}] 3/3 bill"
        # It is gone at the end.
        assert steps[5].startswith("bill: 3 replayed, 0 left\n")

    def test_nobody_else_does(self, failing: list[Failing]) -> None:
        assert "\r" not in replay("bill")

    def test_nor_who_wants_silence(self, failing: list[Failing]) -> None:
        assert replay("bill", verbosity=0, stdout=Terminal()) == ""


class TestRefusing:
    """One sentence, no traceback."""

    def test_an_unknown_handler(self, failing: list[Failing]) -> None:
        with pytest.raises(
            CommandError, match=r"^There is no handler 'mial'; known are mail, bill, stock\.$"
        ):
            replay("bill", "mial")

        assert "Total: 6 replayed" in replay()

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
