"""``run_subscriber`` called in this process, on a broker in memory."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from pytest_django import Settings

from domain_event_broker import DomainEvent, Retry, Subscriber, publish_domain_event
from domain_event_broker.django import domain_event_handler
from domain_event_broker.django.registry import Registry

from .command_runs import Handled, command_in_thread, drain, run
from .conftest import PASSWORD
from .marks import both_databases

pytestmark = [pytest.mark.usefixtures("handlers"), both_databases]


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


def test_events_of_a_committed_transaction_are_handled_with_the_database() -> None:
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
        @domain_event_handler("order*", name="bill")
        def bill(event: DomainEvent) -> None: ...

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

        assert "Ready" in run(time_limit=2).stdout

    def test_it_runs_until_then(self) -> None:
        bill = Handled("order.*", name="bill")
        drain()
        with command_in_thread(max_events=2):
            for _ in range(2):
                publish_domain_event("order.placed", {})

        assert len(bill.events) == 2
