"""What surrounds a handler in its thread: connections that work, and patience."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from django.db import InterfaceError, OperationalError, connections

from domain_event_broker import DomainEvent, publish_domain_event
from domain_event_broker.django import care, domain_event_handler
from domain_event_broker.django.care import DatabaseCare
from domain_event_broker.django.models import InboxEntry
from domain_event_broker.django.registry import Registry
from domain_event_broker.handling import Ending, NotNow
from example_project.shop.models import Customer
from tests.support.threads import start_thread
from tests.support.waiting import wait_until

from .command_runs import Failing, Handled, drain
from .databases import unreachable
from .marks import both_databases
from .runs import Run

pytestmark = both_databases

LIMIT_SECONDS = 30.0
DEFAULT = "default"


class Care:
    """Runs a function in a thread, as a handler; remembers how that ended."""

    def __init__(self) -> None:
        self.calls = 0
        self.error: BaseException | None = None
        self.is_stopping = False
        self._care = DatabaseCare(lambda: self.is_stopping)

    def start(self, function: Callable[[DomainEvent], object]) -> threading.Thread:
        def count(event: DomainEvent) -> None:
            self.calls += 1
            function(event)

        def handle() -> None:
            try:
                self._care.around(count)(DomainEvent("order.placed", uuid_string="an id"))
            except BaseException as error:
                self.error = error

        return start_thread(handle)

    def run(self, function: Callable[[DomainEvent], object]) -> None:
        thread = self.start(function)
        thread.join(LIMIT_SECONDS)
        assert not thread.is_alive()


@pytest.fixture
def caring() -> Iterator[Care]:
    made = Care()
    yield made
    made.is_stopping = True


def ask(event: DomainEvent) -> None:
    Customer.objects.count()


class TestADatabaseThatIsAway:
    def test_it_is_waited_for(self, caring: Care, caplog: pytest.LogCaptureFixture) -> None:
        with unreachable(DEFAULT):
            thread = caring.start(ask)
            wait_until(lambda: "Event 'an id' is held: " in caplog.text)
        thread.join(LIMIT_SECONDS)

        assert not thread.is_alive()
        assert (caring.calls, caring.error) == (2, None)

    def test_it_may_be_another_than_the_inbox_s(
        self, caring: Care, caplog: pytest.LogCaptureFixture
    ) -> None:
        def ask_other(event: DomainEvent) -> None:
            Customer.objects.count()
            Customer.objects.using("other").count()

        with unreachable("other"):
            thread = caring.start(ask_other)
            wait_until(lambda: "is held" in caplog.text)
        thread.join(LIMIT_SECONDS)

        assert (caring.calls, caring.error) == (2, None)

    def test_until_the_end_of_the_run(self, caring: Care, caplog: pytest.LogCaptureFixture) -> None:
        with unreachable(DEFAULT):
            thread = caring.start(ask)
            wait_until(lambda: "is held" in caplog.text)
            caring.is_stopping = True
            thread.join(LIMIT_SECONDS)

        assert isinstance(caring.error, NotNow)
        assert caring.calls == 1

    def test_a_connection_that_broke_is_replaced(self, caring: Care) -> None:
        def break_it_once(event: DomainEvent) -> None:
            if caring.calls == 1:
                broken()
            Customer.objects.count()

        caring.run(break_it_once)

        assert (caring.calls, caring.error) == (2, None)

    def test_but_a_handler_that_breaks_it_each_time_fails(self, caring: Care) -> None:
        caring.run(lambda event: broken())

        assert isinstance(caring.error, OperationalError)
        assert caring.calls == 3


def broken() -> None:
    """As a server does that ends the connection in the middle of a statement."""
    connection = connections[DEFAULT]
    connection.close()
    connection.errors_occurred = True
    raise OperationalError("server closed the connection unexpectedly")


class TestAHandlersOwnError:
    @pytest.mark.parametrize("error", [OperationalError("mine"), InterfaceError("mine")])
    def test_on_a_healthy_connection_it_is_raised(self, caring: Care, error: Exception) -> None:
        def fail(event: DomainEvent) -> None:
            Customer.objects.count()
            raise error

        caring.run(fail)

        assert caring.error is error
        assert caring.calls == 1

    def test_without_any_connection_too(self, caring: Care) -> None:
        def fail(event: DomainEvent) -> None:
            raise OperationalError("of another library")

        caring.run(fail)

        assert isinstance(caring.error, OperationalError)
        assert caring.calls == 1

    def test_a_wrong_statement_is_one(self, caring: Care) -> None:
        def ask_nonsense(event: DomainEvent) -> None:
            connections[DEFAULT].cursor().execute("SELECT 1 FROM nowhere")

        caring.run(ask_nonsense)

        assert caring.error is not None
        assert caring.calls == 1

    def test_any_other_is_nobody_s_business(self, caring: Care) -> None:
        def fail(event: DomainEvent) -> None:
            with suppress(OperationalError):
                broken()
            raise ValueError

        caring.run(fail)

        assert isinstance(caring.error, ValueError)
        assert caring.calls == 1


@pytest.mark.usefixtures("handlers")
class TestRunning:
    """In a run of handlers, on a broker in memory."""

    def test_an_event_is_held_and_handled(self, caplog: pytest.LogCaptureFixture) -> None:
        bill = Handled("order.*", name="bill")
        with Run() as run:
            with unreachable(DEFAULT):
                publish_domain_event("order.placed", {}, uuid_string="an id")
                wait_until(lambda: "Event 'an id' is held: " in caplog.text)
                assert run.reports == []
            wait_until(lambda: run.endings == [Ending.HANDLED], LIMIT_SECONDS)

        assert len(bill.events) == 1
        assert InboxEntry.objects.count() == 1

    def test_stopping_meanwhile_gives_it_back(self, caplog: pytest.LogCaptureFixture) -> None:
        bill = Handled("order.*", name="bill")
        with unreachable_after(Run()) as run:
            publish_domain_event("order.placed", {}, uuid_string="an id")
            wait_until(lambda: "is held" in caplog.text)
            run.stop()
            run.wait()
        assert run.endings == [Ending.RELEASED]
        assert bill.events == []
        output = drain(verbosity=2)

        assert "bill: event an id ('order.placed') was handled." in output.stdout
        assert len(bill.events) == 1

    def test_a_failing_handler_s_event_is_dead_lettered(self) -> None:
        failing = Failing("bill", OperationalError("of another library"))
        drain()
        publish_domain_event("order.placed", {})
        output = drain()

        assert "was dead-lettered (error): OperationalError: of another library" in output.stderr
        assert failing.handled == []


@contextmanager
def unreachable_after(run: Run) -> Iterator[Run]:
    """The run begins, and then its database is away."""
    with run, unreachable(DEFAULT):
        yield run


class TestOldConnections:
    """Looked for before a handler and after it, in its thread, but once a second at most."""

    @pytest.fixture
    def looks(self, monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
        made: list[threading.Thread] = []
        monkeypatch.setattr(
            care, "close_old_connections", lambda: made.append(threading.current_thread())
        )
        return made

    def test_before_and_after(
        self, looks: list[threading.Thread], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(care, "_LOOK_SECONDS", 0.0)
        seen: list[int] = []
        handle = DatabaseCare(lambda: False).around(lambda event: seen.append(len(looks)))
        handle(DomainEvent())
        handle(DomainEvent())

        assert (seen, len(looks)) == ([1, 3], 4)

    def test_not_for_each_of_many(self, looks: list[threading.Thread]) -> None:
        around = DatabaseCare(lambda: False)
        for _ in range(50):
            around.around(lambda event: None)(DomainEvent())

        assert len(looks) < 50

    def test_always_after_a_failure(
        self, looks: list[threading.Thread], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(care, "_LOOK_SECONDS", 3600.0)
        around = DatabaseCare(lambda: False)

        def fail(event: DomainEvent) -> None:
            raise ZeroDivisionError

        for count in (1, 2, 3):
            with pytest.raises(ZeroDivisionError):
                around.around(fail)(DomainEvent())
            assert len(looks) == count + 1

    def test_one_that_cannot_be_closed_fails_no_event(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail() -> None:
            raise OSError("broken")

        monkeypatch.setattr(care, "close_old_connections", fail)
        seen: list[DomainEvent] = []
        DatabaseCare(lambda: False).around(seen.append)(DomainEvent())

        assert len(seen) == 1
        assert "could not be closed" in caplog.text

    def test_in_the_thread_of_the_handlers(
        self, looks: list[threading.Thread], handlers: Registry
    ) -> None:
        threads = []
        domain_event_handler("order.*", name="bill")(
            lambda event: threads.append(threading.current_thread())
        )
        drain()
        publish_domain_event("order.placed", {})
        drain()

        assert set(looks) == set(threads)
        assert threading.current_thread() not in looks


def test_each_thread_looks_after_its_own_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """That another has just looked is no reason not to."""
    looked: list[int] = []
    monkeypatch.setattr(care, "close_old_connections", lambda: looked.append(threading.get_ident()))
    monkeypatch.setattr(care, "_LOOK_SECONDS", LIMIT_SECONDS)
    handle = DatabaseCare(lambda: False).around(lambda event: None)
    threads: list[int] = []
    both = threading.Barrier(2)

    def work() -> None:
        both.wait(LIMIT_SECONDS)
        threads.append(threading.get_ident())
        for _ in range(3):
            handle(DomainEvent("order.placed"))

    for thread in [start_thread(work) for _ in range(2)]:
        thread.join(LIMIT_SECONDS)

    assert sorted(looked) == sorted(threads)
