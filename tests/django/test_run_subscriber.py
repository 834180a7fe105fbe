"""``run_subscriber`` called in this process, on a broker in memory."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from pytest_django import Settings

from domain_event_broker import DomainEvent, Retry, Subscriber, publish_domain_event
from domain_event_broker.django import domain_event_handler, running
from domain_event_broker.django.registry import Registry
from tests.support.ports import free_ports
from tests.support.waiting import wait_until

from .conftest import PASSWORD

pytestmark = pytest.mark.usefixtures("handlers")


@dataclass
class Output:
    stdout: str
    stderr: str


def run(*names: str, **options: Any) -> Output:
    """Run the command to its end."""
    stdout, stderr = StringIO(), StringIO()
    call_command("run_subscriber", *names, stdout=stdout, stderr=stderr, **options)
    return Output(stdout.getvalue(), stderr.getvalue())


def drain(*names: str, **options: Any) -> Output:
    return run(*names, drain=True, **options)


class Handled:
    """A handler that keeps what it gets."""

    def __init__(self, *binding_keys: str, name: str, **options: Any) -> None:
        self.name = name
        self.events: list[DomainEvent] = []
        domain_event_handler(*binding_keys, name=name, **options)(self.handle)

    def handle(self, event: DomainEvent) -> None:
        self.events.append(event)


@contextmanager
def command_in_thread(**options: Any) -> Iterator[threading.Thread]:
    """The command beside the test; ask it to end by other means."""
    thread = threading.Thread(target=run, kwargs=options)
    thread.start()
    yield thread
    thread.join(10)
    assert not thread.is_alive()


def test_draining_handles_what_waits_and_what_is_published_meanwhile() -> None:
    bill = Handled("order.*", name="bill")
    mail = Handled("bill.*", name="mail")

    def pass_on(event: DomainEvent) -> None:
        publish_domain_event("bill.sent", event.data)

    domain_event_handler("order.*", name="pass-on")(pass_on)
    drain()  # declares the queues
    events = [publish_domain_event("order.placed", {"number": number}) for number in range(3)]
    drain()

    assert bill.events == events
    assert [event.data["number"] for event in mail.events] == [0, 1, 2]


def test_a_delayed_retry_is_left_to_later() -> None:
    retries: list[int] = []

    def insist(event: DomainEvent) -> None:
        retries.append(event.retries)
        raise Retry(3600)

    domain_event_handler("order.*", name="bill", max_retries=1)(insist)
    drain()
    event = publish_domain_event("order.placed", {})
    output = drain()

    assert retries == [0]
    assert (
        f"bill: event {event.uuid_string} ('order.placed') comes back in 3600 s as retry 1.\n"
        in (output.stdout)
    )


def test_events_of_a_committed_transaction_are_handled_with_the_database(
    transactional_db: None,
) -> None:
    def write(event: DomainEvent) -> None:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO handled VALUES (%s)", [event.uuid_string])

    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE handled (id varchar(36))")
    try:
        domain_event_handler("order.*", name="bill")(write)
        drain()
        with transaction.atomic():
            event = publish_domain_event("order.placed", {})
        drain()
        with connection.cursor() as cursor:
            cursor.execute("SELECT id FROM handled")
            assert cursor.fetchall() == [(event.uuid_string,)]
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE handled")


class TestChoosing:
    @pytest.fixture(autouse=True)
    def three(self, handlers: Registry) -> list[Handled]:
        return [Handled("order.*", name=name) for name in ("bill", "mail", "stock")]

    @pytest.mark.parametrize(
        ("names", "options", "handling"),
        [
            ((), {}, ["bill", "mail", "stock"]),
            (("mail",), {}, ["mail"]),
            (("stock", "bill", "stock"), {}, ["bill", "stock"]),
            ((), {"exclude": ["bill"]}, ["mail", "stock"]),
            (("bill", "mail"), {"exclude": ["mail"]}, ["bill"]),
        ],
    )
    def test_those_named_and_not_excluded(
        self,
        three: list[Handled],
        names: tuple[str, ...],
        options: dict[str, Any],
        handling: list[str],
    ) -> None:
        drain()
        publish_domain_event("order.placed", {})
        drain(*names, **options)

        assert [handler.name for handler in three if handler.events] == handling

    @pytest.mark.parametrize("options", [{}, {"exclude": ["mial"]}])
    def test_an_unknown_one_is_an_error_with_the_nearest_first(
        self, options: dict[str, Any]
    ) -> None:
        names = () if options else ("mial",)

        with pytest.raises(CommandError, match=r"^There is no handler 'mial'; known are mail, "):
            drain(*names, **options)

    def test_none_left_is_an_error(self) -> None:
        with pytest.raises(CommandError, match="excluded"):
            drain("mail", exclude=["mail"])


class TestRefusing:
    """One sentence, no traceback."""

    def test_no_handlers(self) -> None:
        with pytest.raises(CommandError, match=r"No handler is registered: .*domain_events"):
            drain()

    def test_no_broker(self, settings: Settings) -> None:
        settings.DOMAIN_EVENT_BROKER = None
        Handled("order.*", name="bill")

        with pytest.raises(CommandError, match="DOMAIN_EVENT_BROKER is None"):
            drain()

    def test_wrong_settings(self, settings: Settings) -> None:
        settings.DOMAIN_EVENT_BROKER = f"amqp://user:{PASSWORD}@localhost?heartbeat=x"
        Handled("order.*", name="bill")

        with pytest.raises(CommandError, match="heartbeat") as caught:
            drain()
        assert PASSWORD not in str(caught.value)

    def test_a_wrong_handler(self) -> None:
        Handled("order*", name="bill")

        with pytest.raises(CommandError, match="'order") as caught:
            drain()
        assert __file__ in str(caught.value)

    def test_a_queue_that_another_has_for_itself(self, handlers: Registry) -> None:
        Handled("order.*", name="bill", exclusive=True)
        subscriber = Subscriber()
        handlers.handlers()[0].register_with(subscriber, print)
        try:
            with pytest.raises(CommandError, match="exclusively"):
                drain()
        finally:
            subscriber.disconnect()

    @pytest.mark.parametrize(
        "arguments",
        [
            ("--time-limit", "-1"),
            ("--time-limit", "nan"),
            ("--max-events", "0"),
            ("--max-events", "x"),
        ],
    )
    def test_limits_that_are_none(self, arguments: tuple[str, ...]) -> None:
        Handled("order.*", name="bill")

        with pytest.raises(CommandError, match="is not a"):
            call_command("run_subscriber", *arguments)


class TestLimits:
    def test_after_so_many_events(self) -> None:
        bill = Handled("order.*", name="bill")
        drain()
        for number in range(5):
            publish_domain_event("order.placed", {"number": number})
        run(max_events=3)

        assert [event.data["number"] for event in bill.events] == [0, 1, 2]
        run(max_events=2)
        assert [event.data["number"] for event in bill.events] == [0, 1, 2, 3, 4]

    def test_after_so_long(self) -> None:
        Handled("order.*", name="bill")

        assert "Ready" in run(time_limit=0.5).stdout

    def test_it_runs_until_then(self) -> None:
        bill = Handled("order.*", name="bill")
        drain()
        with command_in_thread(max_events=2):
            for _ in range(2):
                publish_domain_event("order.placed", {})

        assert len(bill.events) == 2


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

        assert drain().stderr.endswith("was dead-lettered (error): Unspeakable\n")

    def test_a_reader_that_has_gone_ends_nothing(self) -> None:
        class Closed(StringIO):
            def write(self, text: str) -> int:
                raise BrokenPipeError

        bill = Handled("order.*", name="bill")
        drain()
        publish_domain_event("order.placed", {})
        call_command("run_subscriber", drain=True, verbosity=2, stdout=Closed(), stderr=Closed())

        assert len(bill.events) == 1


class TestDatabaseConnections:
    """`close_old_connections` around each handler, in its thread."""

    def test_before_and_after(self, monkeypatch: pytest.MonkeyPatch) -> None:
        steps: list[str] = []
        threads = set()

        def note(step: str) -> None:
            steps.append(step)
            threads.add(threading.current_thread())

        monkeypatch.setattr(running, "close_old_connections", lambda: note("close"))
        domain_event_handler("order.*", name="bill")(lambda event: note(event.routing_key))
        drain()
        publish_domain_event("order.placed", {})
        publish_domain_event("order.paid", {})
        drain()

        assert steps == ["close", "order.placed", "close", "close", "order.paid", "close"]
        assert len(threads) == 1
        assert threading.current_thread() not in threads

    def test_after_a_failure_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        steps: list[str] = []
        monkeypatch.setattr(running, "close_old_connections", lambda: steps.append("close"))

        def fail(event: DomainEvent) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            running.with_fresh_connections(fail)(DomainEvent())
        assert steps == ["close", "close"]

    def test_one_that_cannot_be_closed_fails_no_event(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail() -> None:
            raise OSError("broken")

        monkeypatch.setattr(running, "close_old_connections", fail)
        bill = Handled("order.*", name="bill")
        drain()
        publish_domain_event("order.placed", {})
        output = drain()

        assert len(bill.events) == 1
        assert output.stderr == ""
        assert "could not be closed" in caplog.text


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
        output = run(time_limit=0.5)

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
        thread = threading.Thread(target=run.run)
        thread.start()
        wait_until(lambda: caplog.text.count("next try in") > 2)
        run.stop()
        thread.join(10)

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
