"""``publish_event``: one event by hand, checked and stored as any other."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError
from pytest_django import Settings

from domain_event_broker import DomainEvent
from domain_event_broker.django import background
from domain_event_broker.django.models import OutboxEvent
from domain_event_broker.errors import BrokerUnavailable
from domain_event_broker.transports.base import Outcome, PublishResult
from tests.support.ports import free_ports

from .command_runs import call
from .conftest import PASSWORD
from .databases import without_table
from .listener import Listener
from .marks import both_databases
from .project import Project
from .rows import DEFAULT
from .scripted import MakeScripted, ScriptedTransport

pytestmark = both_databases

KEY = "order.placed"


def publish(*arguments: str, **options: Any) -> str:
    return call("publish_event", *arguments, **options).stdout


def only(listener: Listener) -> DomainEvent:
    (event,) = listener.events
    return event


class TestPublishing:
    def test_an_event(self, listener: Listener) -> None:
        told = publish(KEY, '{"number": 1, "name": "é"}')

        event = only(listener)
        assert (event.routing_key, event.data) == (KEY, {"number": 1, "name": "é"})
        assert event.domain_object_id is None
        assert told == f"{event.uuid_string} is published.\n"

    def test_all_that_an_event_has(self, listener: Listener) -> None:
        arguments = ["--uuid", "an id", "--timestamp", "1700000000.5", "--domain-object-id", "o-1"]
        told = publish(KEY, "{}", *arguments)

        assert told == "an id is published.\n"
        assert only(listener).event_data == {
            "routing_key": KEY,
            "data": {},
            "domain_object_id": "o-1",
            "uuid_string": "an id",
            "timestamp": 1700000000.5,
        }

    def test_data_from_standard_input(
        self, listener: Listener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sys.stdin", StringIO('{\n  "number": 2\n}\n'))
        publish(KEY, "-")

        assert only(listener).data == {"number": 2}

    def test_silently(self, listener: Listener) -> None:
        assert publish(KEY, "{}", verbosity=0) == ""
        assert only(listener).routing_key == KEY

    def test_what_nobody_listens_to_is_as_for_any_other(
        self, broker: str, settings: Settings
    ) -> None:
        settings.DOMAIN_EVENT_BROKER = {"URL": broker, "UNROUTABLE": "raise"}
        with pytest.raises(CommandError, match=r"No queue is bound for 'order\.placed'"):
            publish(KEY, "{}")


class TestByTheOutbox:
    def test_it_is_sent_before_the_command_ends(self, scripted: ScriptedTransport) -> None:
        assert publish(KEY, "{}", "--uuid", "a") == "a is published.\n"
        assert scripted.published == ["a"]

    @pytest.mark.parametrize(
        "result",
        [
            PublishResult(Outcome.UNKNOWN, BrokerUnavailable("Nobody is there.")),
            PublishResult(Outcome.REFUSED),
        ],
        ids=["away", "refused"],
    )
    def test_a_broker_that_does_not_take_it_gets_it_later(
        self, scripted: ScriptedTransport, result: PublishResult
    ) -> None:
        scripted.answer_for(a=result)
        told = publish(KEY, "{}", "--uuid", "a")
        background.publisher.close()

        assert told == "a is stored; it is sent as soon as the broker is there.\n"
        assert OutboxEvent.objects.get().event_id == "a"

    def test_without_an_outbox_a_broker_that_is_away_is_an_error(self, settings: Settings) -> None:
        settings.DOMAIN_EVENT_BROKER = {
            "URL": f"amqp://shop:{PASSWORD}@127.0.0.1:{free_ports(1)[0]}",
            "PUBLISH_TIMEOUT": 0.5,
            "OUTBOX": False,
        }
        with pytest.raises(CommandError) as caught:
            publish(KEY, "{}")

        assert PASSWORD not in str(caught.value)

    def test_no_table(self, scripted: ScriptedTransport) -> None:
        with without_table(OutboxEvent, DEFAULT), pytest.raises(CommandError, match="migrate"):
            publish(KEY, "{}")


def test_in_the_project_s_own_database(settings: Settings) -> None:
    settings.DOMAIN_EVENT_BROKER = {"URL": "database://", "SERVICE": "shop"}
    with Listener("database://") as listener:
        assert publish(KEY, "{}", "--uuid", "a") == "a is published.\n"
        assert only(listener).uuid_string == "a"


class TestRefusing:
    """One sentence, which quotes nothing of the data, and nothing is published."""

    @pytest.mark.parametrize(
        "data",
        ["", "{", "secret", "{'secret': 1}", "[" * 100_000, '{"secret": ' + "1" * 5_000 + "}"],
        ids=["nothing", "half", "word", "quotes", "nested", "digits"],
    )
    def test_what_is_no_json(self, listener: Listener, data: str) -> None:
        with pytest.raises(CommandError, match=r"^The data is not JSON: ") as caught:
            publish(KEY, data)

        assert "secret" not in str(caught.value)
        assert listener.events == []

    @pytest.mark.parametrize("data", ["[]", '"secret"', "1", "null", "true"])
    def test_what_is_no_object(self, listener: Listener, data: str) -> None:
        with pytest.raises(CommandError, match="must be an object, such as") as caught:
            publish(KEY, data)

        assert "secret" not in str(caught.value)
        assert listener.events == []

    def test_standard_input_that_is_no_text(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Bytes(StringIO):
            def read(self, size: int | None = -1) -> str:
                return b"\xff".decode()

        monkeypatch.setattr("sys.stdin", Bytes())
        with pytest.raises(CommandError, match="The data is not JSON"):
            publish(KEY, "-")

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["", "{}"], "routing"),
            (["x" * 256, "{}"], "routing"),
            ([KEY, '{"a": NaN}'], "not JSON"),
            ([KEY, '{"a": "\\ud800"}'], "surrogate"),
            ([KEY, "{}", "--uuid", "x" * 256], "uuid_string"),
            ([KEY, "{}", "--timestamp", "nan"], "Out of range float"),
            ([KEY, "{}", "--timestamp", "inf"], "Out of range float"),
            ([KEY, "{}", "--timestamp", "noon"], "--timestamp"),
            ([KEY], "JSON"),
            ([], "ROUTING_KEY"),
        ],
        ids=lambda value: str(value)[:30],
    )
    def test_what_is_no_event(self, listener: Listener, arguments: list[str], told: str) -> None:
        with pytest.raises(CommandError, match=told):
            publish(*arguments)

        assert listener.events == []

    def test_one_that_is_too_large(self, script: MakeScripted) -> None:
        scripted = script(MAX_EVENT_BYTES=1024)
        with pytest.raises(CommandError, match=r"1,?024"):
            publish(KEY, json.dumps({"secret": "x" * 2_000}))

        assert scripted.published == []

    def test_no_broker(self, settings: Settings) -> None:
        settings.DOMAIN_EVENT_BROKER = None
        with pytest.raises(CommandError, match="DOMAIN_EVENT_BROKER is None"):
            publish(KEY, "{}")

    def test_wrong_settings(self, settings: Settings) -> None:
        settings.DOMAIN_EVENT_BROKER = f"amqp://user:{PASSWORD}@localhost?heartbeat=x"
        with pytest.raises(CommandError, match="heartbeat") as caught:
            publish(KEY, "{}")

        assert PASSWORD not in str(caught.value)


def test_from_a_shell(project: Project) -> None:
    project.set(DOMAIN_EVENT_BROKER="database://")
    published = project.run("publish_event", KEY, '{"number": 1}', "--uuid", "a")
    handled = project.run("run_subscriber", "--drain", "-v", "2")
    again = project.run("publish_event", KEY, "{}")

    assert (published.returncode, published.stdout) == (0, "a is published.\n")
    assert handled.returncode == again.returncode == 0
    assert again.stdout.endswith(" is published.\n")
