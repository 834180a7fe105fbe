"""``relay_outbox`` called in this process."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from domain_event_broker.django.models import OutboxEvent
from domain_event_broker.django.sending import outbox
from domain_event_broker.errors import BrokerUnavailable, PublishRefused
from domain_event_broker.transports.base import Outcome, PublishResult

from .conftest import PASSWORD
from .databases import unreachable, without_table
from .marks import both_databases
from .rows import DEFAULT, LONG, put, there
from .scripted import ScriptedTransport

pytestmark = both_databases

AWAY = PublishResult(Outcome.UNKNOWN, BrokerUnavailable("Nobody is there."))
REFUSED = PublishResult(Outcome.REFUSED, PublishRefused("The queue is full."))


def relay_once(*arguments: str, **options: Any) -> str:
    """Run it to its end; return what it wrote."""
    stdout = StringIO()
    call_command("relay_outbox", "--once", *arguments, stdout=stdout, **options)
    return stdout.getvalue()


class TestOnce:
    def test_it_sends_what_is_there_and_ends(self, scripted: ScriptedTransport) -> None:
        put("a", "b")
        put("c", using="other")

        assert relay_once() == "3 sent, 0 left, 0 of them parked.\n"
        assert sorted(map(str, scripted.published)) == ["a", "b", "c"]
        assert relay_once() == "0 sent, 0 left, 0 of them parked.\n"

    def test_what_others_are_sending_is_waited_for(self, scripted: ScriptedTransport) -> None:
        put("theirs", lease_seconds=0.3)

        assert relay_once() == "1 sent, 0 left, 0 of them parked.\n"

    def test_it_counts_what_is_left(self, scripted: ScriptedTransport) -> None:
        put("sent", "parked", "delayed", "refused")
        outbox(DEFAULT).filter(event_id="parked").park("It is too large.")
        outbox(DEFAULT).filter(event_id="delayed").give_back(LONG)
        scripted.answer_for(refused=REFUSED)

        assert relay_once() == "1 sent, 3 left, 1 of them parked.\n"

    def test_silently(self, scripted: ScriptedTransport) -> None:
        put("a")

        assert relay_once(verbosity=0) == ""
        assert scripted.published == ["a"]

    def test_a_broker_that_is_away_is_another_status(self, scripted: ScriptedTransport) -> None:
        scripted.answer = lambda message: AWAY
        put("a")
        stdout = StringIO()

        with pytest.raises(CommandError, match=r"^The broker took no more: Nobody is there\.$"):
            call_command("relay_outbox", "--once", stdout=stdout)
        assert stdout.getvalue() == "0 sent, 1 left, 0 of them parked.\n"


class TestUnparking:
    def test_those_parked_are_tried_again(self, scripted: ScriptedTransport) -> None:
        put("a", "b")
        put("c", using="other")
        outbox(DEFAULT).park("It is too large.")

        assert relay_once("--unpark").splitlines() == [
            "Parked events of 'default' that are tried again: 2.",
            "Parked events of 'other' that are tried again: 0.",
            "3 sent, 0 left, 0 of them parked.",
        ]

    def test_without_the_option_they_are_not(self, scripted: ScriptedTransport) -> None:
        put("a")
        outbox(DEFAULT).park("It is too large.")

        assert relay_once() == "0 sent, 1 left, 1 of them parked.\n"


class TestDatabases:
    def test_only_those_named(self, scripted: ScriptedTransport) -> None:
        put("here")
        put("there", using="other")

        assert relay_once("--database", "other") == "1 sent, 0 left, 0 of them parked.\n"
        assert there() == ["here"]
        assert relay_once("--database", "other", "--database", DEFAULT).startswith("1 sent")

    def test_an_unknown_one_is_told_with_those_there_are(self, scripted: ScriptedTransport) -> None:
        with pytest.raises(
            CommandError, match=r"^There is no database 'nowhere'; there are default, other\.$"
        ):
            relay_once("--database", "nowhere")

    def test_one_without_an_outbox_is_left_out(self, scripted: ScriptedTransport) -> None:
        put("a", using="other")
        with without_table(OutboxEvent, DEFAULT):
            told = relay_once("--unpark")

        assert told.splitlines() == [
            "Parked events of 'other' that are tried again: 0.",
            "1 sent, 0 left, 0 of them parked.",
        ]

    def test_unless_it_is_named(self, scripted: ScriptedTransport) -> None:
        with (
            without_table(OutboxEvent, "other"),
            pytest.raises(CommandError, match=r"'other' has no table .* --database other"),
        ):
            relay_once("--database", "other")

    def test_without_any_outbox_it_says_what_to_do(self, scripted: ScriptedTransport) -> None:
        with (
            without_table(OutboxEvent, DEFAULT),
            without_table(OutboxEvent, "other"),
            pytest.raises(CommandError, match=r"has no table .*migrate"),
        ):
            relay_once()

    def test_or_where_there_can_be_none(
        self, scripted: ScriptedTransport, settings: Settings
    ) -> None:
        settings.DATABASE_ROUTERS = ["tests.django.routers.Nowhere"]

        with pytest.raises(CommandError, match="No database of this project can have"):
            relay_once()

    def test_one_that_is_away_ends_it_with_one_sentence(self, scripted: ScriptedTransport) -> None:
        put("a", using="other")
        with unreachable(DEFAULT), pytest.raises(CommandError, match=r"^The database 'default': "):
            relay_once()

        assert scripted.published == ["a"]


class TestRefusing:
    """One sentence, no traceback."""

    def test_no_broker(self, settings: Settings) -> None:
        settings.DOMAIN_EVENT_BROKER = None

        with pytest.raises(CommandError, match="DOMAIN_EVENT_BROKER is None"):
            relay_once()

    def test_one_that_ends_with_the_process(self, broker: str) -> None:
        with pytest.raises(CommandError, match=f"^{broker} ends with this process"):
            relay_once()

    def test_wrong_settings(self, settings: Settings) -> None:
        settings.DOMAIN_EVENT_BROKER = f"amqp://user:{PASSWORD}@localhost?heartbeat=x"

        with pytest.raises(CommandError, match="heartbeat") as caught:
            relay_once()
        assert PASSWORD not in str(caught.value)
