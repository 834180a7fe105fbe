"""The inbox: a handler takes effect once for each event, however often that comes."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest
from django.db import IntegrityError, connections, transaction
from pytest_django import Settings

from domain_event_broker import DomainEvent, Retry, publish_domain_event
from domain_event_broker.django import domain_event_handler
from domain_event_broker.django.inbox import key, once_per_event
from domain_event_broker.django.models import InboxEntry
from domain_event_broker.handling import AlreadyHandled
from example_project.shop.models import Customer
from tests.support.threads import at_once, start_thread

from .command_runs import Failing, Handled, drain, replay
from .listener import Listener
from .marks import both_databases

pytestmark = [pytest.mark.usefixtures("handlers"), both_databases]

LIMIT_SECONDS = 30.0
DEFAULT = "default"


def entries(using: str = DEFAULT) -> list[tuple[str, str]]:
    return list(InboxEntry.objects.using(using).values_list("handler", "event_id").order_by("pk"))


def add_customer(event: DomainEvent) -> None:
    """An effect that would be there twice."""
    Customer.objects.create(name=event.uuid_string, email=f"{Customer.objects.count()}@example.com")


def customers() -> int:
    return Customer.objects.count()


class TestOnce:
    """The function itself, without a broker."""

    def test_the_handler_runs_and_leaves_a_note(self) -> None:
        event = DomainEvent("user.registered", uuid_string="an id")
        once_per_event(add_customer, "shop.add", DEFAULT)(event)

        assert customers() == 1
        assert entries() == [("shop.add", "an id")]

    def test_a_copy_does_not_run(self) -> None:
        event = DomainEvent("user.registered")
        handle = once_per_event(add_customer, "shop.add", DEFAULT)
        handle(event)
        for copy in (event, DomainEvent("user.registered", uuid_string=event.uuid_string)):
            with pytest.raises(AlreadyHandled):
                handle(copy)

        assert customers() == len(entries()) == 1

    def test_each_handler_takes_the_event_for_itself(self) -> None:
        event = DomainEvent("user.registered", uuid_string="an id")
        for name in ("one", "two"):
            once_per_event(add_customer, name, DEFAULT)(event)

        assert customers() == 2
        assert entries() == [("one", "an id"), ("two", "an id")]

    @pytest.mark.parametrize("error", [ValueError, Retry, SystemExit, IntegrityError])
    def test_one_that_fails_leaves_neither_note_nor_effect(
        self, error: type[BaseException]
    ) -> None:
        def add_and_fail(event: DomainEvent) -> None:
            add_customer(event)
            raise error

        event = DomainEvent("user.registered")
        with pytest.raises(error):
            once_per_event(add_and_fail, "shop.add", DEFAULT)(event)
        assert (customers(), entries()) == (0, [])

        once_per_event(add_customer, "shop.add", DEFAULT)(event)
        assert customers() == 1

    def test_transactions_in_the_handler_are_parts_of_its_own(self) -> None:
        def add_in_parts(event: DomainEvent) -> None:
            with transaction.atomic():
                add_customer(event)
            with suppress(ZeroDivisionError), transaction.atomic():
                add_customer(event)
                raise ZeroDivisionError

        once_per_event(add_in_parts, "shop.add", DEFAULT)(DomainEvent("user.registered"))

        assert customers() == len(entries()) == 1

    def test_what_the_handler_does_with_its_event_changes_no_note(self) -> None:
        def rename(event: DomainEvent) -> None:
            event.uuid_string = "another id"

        once_per_event(rename, "shop.add", DEFAULT)(DomainEvent("a.b", uuid_string="an id"))

        assert entries() == [("shop.add", "an id")]

    def test_it_is_called_like_the_function(self) -> None:
        assert once_per_event(add_customer, "shop.add", DEFAULT).__name__ == "add_customer"

    def test_the_note_is_in_the_database_that_is_named(self) -> None:
        once_per_event(lambda event: None, "shop.add", "other")(DomainEvent(uuid_string="an id"))

        assert (entries(), entries("other")) == ([], [("shop.add", "an id")])


class TestIds:
    @pytest.mark.parametrize(
        "identity", ["Zoë 🎉", "é" * 127, "x" * 255, "' OR 1=1 --", " ", "%s", "\x01\n"]
    )
    def test_one_stands_for_itself(self, identity: str) -> None:
        once_per_event(lambda event: None, "shop.add", DEFAULT)(DomainEvent(uuid_string=identity))

        assert entries() == [("shop.add", identity)]

    def test_one_that_no_database_takes_is_told_from_others(self) -> None:
        handle = once_per_event(add_customer_without_name, "shop.add", DEFAULT)
        for identity in ("a\0b", "a\0c", "\0"):
            handle(DomainEvent(uuid_string=identity))
            with pytest.raises(AlreadyHandled):
                handle(DomainEvent(uuid_string=identity))

        assert customers() == 3
        assert len({key("a\0b"), key("a\0c"), key("ab"), key("a\\0b")}) == 4


def add_customer_without_name(event: DomainEvent) -> None:
    Customer.objects.create(name="", email=f"{Customer.objects.count()}@example.com")


class TestAtOnce:
    def test_two_copies_have_one_effect(self) -> None:
        event = DomainEvent("user.registered")
        handle = once_per_event(add_customer, "shop.add", DEFAULT)

        def try_to_handle() -> str:
            try:
                handle(event)
            except AlreadyHandled:
                return "copy"
            return "handled"

        assert sorted(at_once(try_to_handle, try_to_handle)) == ["copy", "handled"]
        assert customers() == len(entries()) == 1

    def test_the_second_runs_if_the_first_rolls_back(self) -> None:
        event = DomainEvent("user.registered")
        begun, go_on = threading.Event(), threading.Event()
        failed: list[str] = []

        def begin_and_fail(event: DomainEvent) -> None:
            add_customer(event)
            begun.set()
            go_on.wait(LIMIT_SECONDS)
            raise ZeroDivisionError

        def first() -> None:
            with pytest.raises(ZeroDivisionError):
                once_per_event(begin_and_fail, "shop.add", DEFAULT)(event)
            failed.append("first")

        def second() -> None:
            once_per_event(add_customer, "shop.add", DEFAULT)(event)

        threads = [start_thread(first)]
        begun.wait(LIMIT_SECONDS)
        threads.append(start_thread(second))
        assert customers() == 0
        go_on.set()
        for thread in threads:
            thread.join(LIMIT_SECONDS)

        assert failed == ["first"]
        assert customers() == len(entries()) == 1


class TestRunning:
    """In `run_subscriber`, on a broker in memory."""

    def test_a_copy_is_acknowledged_without_running(self) -> None:
        bill = Handled("order.*", name="bill")
        drain()
        for _ in range(3):
            publish_domain_event("order.placed", {}, uuid_string="an id")
        output = drain(verbosity=2)

        assert len(bill.events) == 1
        lines = output.stdout.splitlines()
        about = "bill: event an id ('order.placed')"
        assert lines[-3:] == [f"{about} was handled.", *[f"{about} was handled before."] * 2]
        assert output.stderr == ""
        assert drain().stderr == ""
        assert len(bill.events) == 1

    def test_copies_do_not_count_as_events(self) -> None:
        bill = Handled("order.*", name="bill")
        drain()
        for identity in ("one", "one", "one", "two"):
            publish_domain_event("order.placed", {}, uuid_string=identity)
        drain(max_events=2)

        assert [event.uuid_string for event in bill.events] == ["one", "two"]

    def test_without_an_inbox_each_copy_runs(self) -> None:
        bill = Handled("order.*", name="bill", inbox=False)
        drain()
        for _ in range(2):
            publish_domain_event("order.placed", {}, uuid_string="an id")
        drain()

        assert len(bill.events) == 2
        assert entries() == []

    def test_the_handler_names_the_database(self) -> None:
        bill = Handled("order.*", name="bill", using="other")
        drain()
        publish_domain_event("order.placed", {}, uuid_string="an id")
        drain()

        assert len(bill.events) == 1
        assert (entries(), entries("other")) == ([], [("bill", "an id")])

    def test_or_else_the_routers_do(self, settings: Settings) -> None:
        settings.DATABASE_ROUTERS = ["tests.django.routers.InOther"]
        Handled("order.*", name="bill")
        drain()
        publish_domain_event("order.placed", {}, uuid_string="an id")
        drain()

        assert entries("other") == [("bill", "an id")]

    def test_a_retry_leaves_no_note_and_so_it_runs_again(self) -> None:
        retries: list[int] = []

        def insist(event: DomainEvent) -> None:
            add_customer(event)
            retries.append(event.retries)
            if not event.retries:
                raise Retry(0)

        domain_event_handler("order.*", name="bill", max_retries=1)(insist)
        drain()
        publish_domain_event("order.placed", {}, uuid_string="an id")
        drain()

        assert retries == [0, 1]
        assert customers() == 1
        assert entries() == [("bill", "an id")]

    def test_a_failed_one_can_be_replayed(self) -> None:
        failing = Failing("bill")
        drain()
        publish_domain_event("order.placed", {}, uuid_string="an id")
        drain()
        assert entries() == []
        failing.fails = False
        replay()
        drain()

        assert len(failing.handled) == 1
        assert entries() == [("bill", "an id")]

    def test_what_a_handler_publishes_is_part_of_its_transaction(self, listener: Listener) -> None:
        def publish_and_fail(event: DomainEvent) -> None:
            publish_domain_event("bill.sent", {})
            assert connections[DEFAULT].in_atomic_block
            if not event.retries:
                raise Retry(0)

        domain_event_handler("order.*", name="bill", max_retries=1)(publish_and_fail)
        drain()
        publish_domain_event("order.placed", {}, uuid_string="an id")
        drain()

        placed, sent = listener.messages
        assert (placed.routing_key, sent.routing_key) == ("order.placed", "bill.sent")
        assert sent.headers["deb-causation-id"] == "an id"
        assert sent.correlation_id == "an id"
