"""Several handlers at once in a run: their database, what is told of them, who tends the rest."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from typing import Any

import pytest
from django.db import connection
from pytest_django import Settings

from domain_event_broker import DomainEvent, publish_domain_event
from domain_event_broker.django import conf, domain_event_handler
from domain_event_broker.django.models import DeadLetter, InboxEntry, QueuedMessage
from domain_event_broker.django.processes import Job
from domain_event_broker.django.registry import Registry
from domain_event_broker.django.running import HandlerRun, Limits
from domain_event_broker.django.signals import event_handled
from domain_event_broker.handling import Ending, Report
from example_project.shop.models import Customer
from tests.support.waiting import wait_until

from .command_runs import Failing, Handled, drain
from .marks import both_databases
from .rows import there
from .runs import LIMIT_SECONDS, Run
from .test_run_subscriber_outbox import left_behind

pytestmark = [pytest.mark.usefixtures("handlers"), both_databases]


@pytest.fixture(params=["memory://", "database://"])
def broker(settings: Settings, request: pytest.FixtureRequest, broker: str) -> str:
    """Either, with its queues empty."""
    url = broker if request.param == "memory://" else "database://"
    settings.DOMAIN_EVENT_BROKER = {"URL": url, "SERVICE": "shop"}
    return url


def publish(count: int) -> list[DomainEvent]:
    return [publish_domain_event("order.placed", {"number": n}) for n in range(count)]


def test_each_event_takes_effect_once_in_whichever_thread() -> None:
    both = threading.Barrier(2)
    arrivals = itertools.count()

    def enroll(event: DomainEvent) -> None:
        Customer.objects.create(name="Ada", email=f"{event.data['number']}@example.com")

    def meet(**_: Any) -> None:
        if next(arrivals) < 2:
            both.wait(LIMIT_SECONDS)  # in the threads of the first two, after their commits

    domain_event_handler("order.*", name="enroll", concurrency=4)(enroll)
    event_handled.connect(meet)
    drain()
    events = publish(40)
    events += [
        publish_domain_event("order.placed", event.data, uuid_string=event.uuid_string)
        for event in events
    ]
    try:
        with Run() as run:
            wait_until(lambda: len(run.reports) == 80, LIMIT_SECONDS)
    finally:
        event_handled.disconnect(meet)

    assert Counter(run.endings) == {Ending.HANDLED: 40, Ending.DUPLICATE: 40}
    assert Customer.objects.count() == InboxEntry.objects.count() == 40
    assert not QueuedMessage.objects.exists()
    assert not both.broken


def test_signals_tell_of_each() -> None:
    told: list[Report] = []
    both = threading.Barrier(2)

    def note(report: Report, **_: Any) -> None:
        both.wait(LIMIT_SECONDS)  # in the threads of two handlers
        told.append(report)

    event_handled.connect(note)
    try:
        Handled("order.*", name="bill", concurrency=2, inbox=False)
        drain()
        events = publish(4)
        drain()
    finally:
        event_handled.disconnect(note)

    assert {report.event_id for report in told} == {event.uuid_string for event in events}
    assert len(told) == 4


def test_so_many_threads_are_asked_for() -> None:
    together = threading.Barrier(2)

    def meet(event: DomainEvent) -> None:
        together.wait(LIMIT_SECONDS)

    for name in ("bill", "mail"):
        domain_event_handler("order.*", name=name, inbox=False)(meet)
    drain()
    publish(2)
    output = drain(threads=2, verbosity=2)

    assert output.stdout.count(" was handled.") == 4
    assert output.stderr == ""


def test_connections_end_with_their_threads() -> None:
    together = threading.Barrier(3)
    opened: list[Any] = []

    def look(event: DomainEvent) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        opened.append(connection._connections["default"])  # type: ignore[attr-defined]
        together.wait(LIMIT_SECONDS)

    domain_event_handler("order.*", name="bill", concurrency=3, inbox=False)(look)
    drain()
    publish(3)
    drain()

    assert len({id(each) for each in opened}) == 3
    assert all(each.connection is None for each in opened)


class TestTending:
    @pytest.fixture(autouse=True)
    def broker(self, settings: Settings) -> None:
        settings.DOMAIN_EVENT_BROKER = {"URL": "database://", "SERVICE": "shop"}

    @pytest.mark.parametrize("tends", [True, False])
    def test_one_of_several_does_it(self, handlers: Registry, tends: bool) -> None:
        failing = Failing("bill")
        drain()
        event = publish_domain_event("order.placed", {})
        left_behind("left")
        reports: list[Report] = []
        run = HandlerRun(
            handlers.handlers(),
            conf.required(),
            Limits(drain=True),
            tends=tends,
            on_ready=lambda: None,
            on_report=reports.append,
        )
        run.run()

        assert failing.handled == []
        assert event.uuid_string in {report.event_id for report in reports}
        assert there() == ([] if tends else ["left"])
        assert DeadLetter.objects.exists() is tends


class TestTimeLimit:
    def test_a_process_that_replaces_another_gets_what_is_left_of_the_time(self) -> None:
        limits = Limits(time_limit_seconds=100, max_events=7)
        job = Job((), conf.required(), limits)
        late = Job((), conf.required(), limits, began_at=job.began_at - 60)
        too_late = Job((), conf.required(), limits, began_at=job.began_at - 200)

        assert 0 < (late.limits_from_now().time_limit_seconds or 0) <= 40
        assert too_late.limits_from_now().time_limit_seconds == 0
        assert late.limits_from_now().max_events == 7
        assert Job((), conf.required(), Limits()).limits_from_now() == Limits()
