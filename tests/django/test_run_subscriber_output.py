"""What ``run_subscriber`` writes, and what it does without a broker."""

from __future__ import annotations

import logging
from io import StringIO

import pytest
from django.core.management import call_command
from pytest_django import Settings

from domain_event_broker import DomainEvent, Subscriber, publish_domain_event
from domain_event_broker.django import domain_event_handler, running
from domain_event_broker.django.registry import Registry
from tests.support.ports import free_ports
from tests.support.threads import start_thread
from tests.support.waiting import wait_until

from .command_runs import Handled, Output, drain, run
from .conftest import PASSWORD
from .marks import both_databases

pytestmark = [pytest.mark.usefixtures("handlers"), both_databases]


class TestLines:
    """What is written, by verbosity; the lines never hold a payload."""

    @pytest.fixture
    def event(self) -> DomainEvent:
        Handled("order.*", name="bill")

        def fail(event: DomainEvent) -> None:
            raise ValueError("no such\norder\x1b[31m")

        domain_event_handler("order.*", name="mail")(fail)
        domain_event_handler("order.*", name="stock", dead_letter=False)(fail)
        drain()
        return publish_domain_event("order.placed", {"card": "1234-5678"})

    def test_normally(self, event: DomainEvent, broker: str) -> None:
        output = drain()

        assert output.stdout == f"Ready: running 3 handlers on {broker}.\n"
        about = f"event {event.uuid_string} ('order.placed')"
        assert output.stderr.splitlines() == [
            f"mail: {about} was dead-lettered (error): ValueError: no such order [31m",
            f"stock: {about} was discarded (error): ValueError: no such order [31m",
        ]

    def test_verbosely(self, event: DomainEvent) -> None:
        output = drain(verbosity=2)

        about = f"event {event.uuid_string} ('order.placed')"
        assert output.stdout.splitlines()[1:] == [
            "  bill: order.*",
            "  mail: order.*",
            "  stock: order.*",
            f"bill: {about} was handled.",
        ]
        assert len(output.stderr.splitlines()) == 2
        assert "1234-5678" not in output.stdout + output.stderr

    def test_silently(self, event: DomainEvent) -> None:
        assert drain(verbosity=0) == Output("", "")

    def test_one_handler_is_one(self, handlers: Registry, broker: str) -> None:
        Handled("order.*", name="bill")

        assert drain().stdout == f"Ready: running 1 handler on {broker}.\n"

    def test_an_error_that_cannot_be_shown_costs_nothing(self) -> None:
        class Unspeakable(Exception):
            def __str__(self) -> str:
                raise RuntimeError

        def fail(event: DomainEvent) -> None:
            raise Unspeakable

        domain_event_handler("order.*", name="bill")(fail)
        drain()
        publish_domain_event("order.placed", {})

        assert drain().stderr.endswith(
            "was dead-lettered (error): Unspeakable: (its message cannot be shown: RuntimeError)\n"
        )

    def test_a_reader_that_has_gone_ends_nothing(self) -> None:
        class Closed(StringIO):
            def write(self, text: str) -> int:
                raise BrokenPipeError

        bill = Handled("order.*", name="bill")
        drain()
        publish_domain_event("order.placed", {})
        call_command("run_subscriber", drain=True, verbosity=2, stdout=Closed(), stderr=Closed())

        assert len(bill.events) == 1


class TestAbsentBroker:
    """The broker cannot be reached at the start: patience, until something ends it."""

    @pytest.fixture(autouse=True)
    def absent(self, handlers: Registry, settings: Settings) -> None:
        settings.DOMAIN_EVENT_BROKER = {
            "URL": f"amqp://shop:{PASSWORD}@127.0.0.1:{free_ports(1)[0]}/",
            "RECONNECT_DELAY": 0.01,
            "MAX_RECONNECT_DELAY": 0.02,
        }
        Handled("order.*", name="bill")

    def test_it_tries_until_the_time_is_over(self, caplog: pytest.LogCaptureFixture) -> None:
        output = run(time_limit=2)

        assert output.stdout == ""
        lines = [record for record in caplog.records if "next try in" in record.getMessage()]
        assert lines
        assert {record.levelno for record in lines} == {logging.WARNING}
        assert PASSWORD not in caplog.text

    def test_it_tries_until_it_is_stopped(
        self, handlers: Registry, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings = Subscriber().settings
        assert settings is not None
        run = running.HandlerRun(
            handlers.handlers(),
            settings,
            running.Limits(),
            on_ready=lambda: None,
            on_report=lambda report: None,
        )
        thread = start_thread(run.run)
        wait_until(lambda: caplog.text.count("next try in") > 2)
        run.stop()
        thread.join(30)

        assert not thread.is_alive()


def test_a_stop_before_the_start_counts(handlers: Registry, broker: str) -> None:
    bill = Handled("order.*", name="bill")
    drain()
    publish_domain_event("order.placed", {})
    settings = Subscriber().settings
    assert settings is not None
    ready: list[str] = []
    run = running.HandlerRun(
        handlers.handlers(),
        settings,
        running.Limits(),
        on_ready=lambda: ready.append("ready"),
        on_report=lambda report: None,
    )
    run.stop()
    run.run()

    assert ready == bill.events == []
