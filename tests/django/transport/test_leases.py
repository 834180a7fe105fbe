"""Leases of what a consumer holds: kept while it lives, however long a handler takes."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import datetime
from functools import partial

import pytest
from pytest_django import Settings

from domain_event_broker import DomainEvent, publish_domain_event, publish_domain_events
from domain_event_broker.django import domain_event_handler
from domain_event_broker.django.models import QueuedMessage
from domain_event_broker.django.transport import batches
from domain_event_broker.django.transport.consumer import DatabaseConsumer
from domain_event_broker.handling import Ending
from tests.conformance.harness import Desk, ids, message, receive, subscription, take_all
from tests.django.command_runs import drain
from tests.django.marks import both_databases
from tests.django.runs import Run
from tests.support.waiting import wait_until

from .conftest import SHORT_LEASE_SECONDS

pytestmark = [pytest.mark.usefixtures("handlers"), both_databases]

LIMIT_SECONDS = 30.0


@pytest.fixture(autouse=True)
def broker(settings: Settings) -> None:
    settings.DOMAIN_EVENT_BROKER = {
        "URL": "database://",
        "SERVICE": "shop",
        "LEASE": SHORT_LEASE_SECONDS,
    }


class TestHandlers:
    def test_one_that_takes_longer_than_a_lease_runs_once(self) -> None:
        started, may_end = threading.Event(), threading.Event()
        handled: list[DomainEvent] = []

        def take_long(event: DomainEvent) -> None:
            started.set()
            assert may_end.wait(LIMIT_SECONDS)
            handled.append(event)

        domain_event_handler("order.*", name="slow", inbox=False)(take_long)
        drain()
        with Run() as first, Run() as second:
            event = publish_domain_event("order.placed", {})
            assert started.wait(LIMIT_SECONDS)
            wait_for_renewals(4)
            may_end.set()
            wait_until(lambda: not QueuedMessage.objects.exists(), LIMIT_SECONDS)

        assert handled == [event]
        assert first.endings + second.endings == [Ending.HANDLED]

    def test_two_runs_share_the_events(self) -> None:
        handled: list[str] = []
        threads: set[int] = set()
        together = threading.Barrier(2)

        def handle(event: DomainEvent) -> None:
            if threading.get_ident() not in threads:
                # The first event of each run: neither can take them all.
                threads.add(threading.get_ident())
                together.wait(LIMIT_SECONDS)
            handled.append(event.uuid_string)

        domain_event_handler("order.*", name="shared", inbox=False)(handle)
        drain()
        events = [DomainEvent("order.placed", {"number": number}) for number in range(100)]
        with Run() as first, Run() as second:
            publish_domain_events(events)
            wait_until(lambda: not QueuedMessage.objects.exists(), LIMIT_SECONDS)

        assert Counter(handled) == Counter(event.uuid_string for event in events)
        assert first.reports
        assert second.reports


class TestConsumers:
    def test_what_was_received_stays_with_who_received_it(self, short_lease_desk: Desk) -> None:
        desk = short_lease_desk
        first, second = desk.consumer(subscription()), desk.consumer(subscription())
        desk.publish(message())
        delivery = receive(first)
        wait_for_renewals(4)

        assert second.receive(0) is None
        first.ack(delivery)
        assert first.flush(LIMIT_SECONDS)
        assert not QueuedMessage.objects.exists()

    def test_one_that_slept_gives_back_what_it_had_not_begun(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As a process does that was suspended: others may have it by now.

        What it claims then is its own at once, though its keeper did not renew anything yet.
        """
        monkeypatch.setattr(batches, "_BATCH_SECONDS", 3600.0)
        consumer = desk.consumer(subscription())
        assert isinstance(consumer, DatabaseConsumer)
        consumer._keeper._finish = lambda: None
        consumer._keeper.stop(LIMIT_SECONDS)
        sent = [message() for _ in range(8)]
        desk.publish(*sent)
        take_all(consumer, 3)  # the next batch is larger than one
        taken = receive(consumer)
        assert consumer._buffer
        consumer._leased_until = 0.0
        rest = take_all(consumer, 4)
        consumer.ack(taken)

        assert sorted(map(str, ids(rest))) == sorted(map(str, ids(sent[4:])))
        assert consumer.flush(LIMIT_SECONDS)
        assert not QueuedMessage.objects.exists()


def wait_for_renewals(count: int) -> None:
    """So many, and so for longer than one lease."""
    last = QueuedMessage.objects.get().due_at
    for _ in range(count):
        last = wait_until(partial(renewed, last))


def renewed(last: datetime | None) -> datetime | None:
    """When the one row's lease ends by now, if it is not as it was."""
    due_at: datetime | None = QueuedMessage.objects.get().due_at
    return due_at if due_at != last else None
