"""How many statements it takes: one more for each event is what everybody would pay for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext

from domain_event_broker import DomainEvent, publish_domain_event
from domain_event_broker.django.background import publisher
from domain_event_broker.django.inbox import once_per_event
from domain_event_broker.handling import AlreadyHandled

from .marks import both_databases
from .relays import a_relay
from .rows import DEFAULT, put, there
from .scripted import ScriptedTransport

pytestmark = [both_databases, pytest.mark.usefixtures("scripted")]

LIMIT_SECONDS = 30.0
BEGIN, COMMIT = "BEGIN", "COMMIT"
LOOK, CLAIM = "SELECT", "UPDATE"
BATCH = [CLAIM, "DELETE"]


@contextmanager
def statements() -> Iterator[list[str]]:
    """The first words of what this thread has the default database do in the block."""
    told: list[str] = []
    with CaptureQueriesContext(connections[DEFAULT]) as queries:
        yield told
    told += [query["sql"].split()[0] for query in queries.captured_queries]


@pytest.fixture(autouse=True)
def _used_before() -> None:
    """The first use may look for tables, and connect."""
    publish_domain_event("order.placed", {})
    assert publisher.flush(LIMIT_SECONDS)


def test_publishing_takes_one() -> None:
    with transaction.atomic(), statements() as told:
        publish_domain_event("order.placed", {})

    assert told == ["INSERT"]


def test_and_a_transaction_where_there_is_none() -> None:
    with statements() as told:
        publish_domain_event("order.placed", {})

    assert told in (["INSERT"], [BEGIN, "INSERT", COMMIT])


def test_handling_takes_one_more_than_the_handler() -> None:
    handle = once_per_event(lambda event: None, "shop.nothing", DEFAULT)
    event = DomainEvent("order.placed")
    with statements() as told:
        handle(event)
    assert told == [BEGIN, "INSERT", COMMIT]

    with statements() as told, pytest.raises(AlreadyHandled):
        handle(event)
    assert told == [BEGIN, "INSERT", "ROLLBACK"]


@pytest.mark.parametrize("events", [1, 100])
def test_a_batch_of_the_relay_takes_two_however_many_are_in_it(
    scripted: ScriptedTransport, events: int
) -> None:
    put("warm")
    with a_relay() as relay:
        relay.sweep()
        put(*(str(number) for number in range(events)))
        with statements() as told:
            assert relay.sweep().sent == events

    assert there() == []
    assert len(scripted.batches) == 2
    # It looks before it claims, and until there is nothing more to claim.
    assert [each for each in told if each not in (BEGIN, COMMIT)] == [LOOK, *BATCH, CLAIM]
