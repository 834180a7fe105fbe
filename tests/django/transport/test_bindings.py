"""Bindings are remembered between publishes, and yet always those of the moment."""

from __future__ import annotations

from contextlib import suppress

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from domain_event_broker.django.models import Binding, Exchange, Queue
from domain_event_broker.django.transport.queues import declare
from domain_event_broker.transports.base import Outcome
from tests.conformance.harness import Desk, message, subscription
from tests.django.marks import both_databases
from tests.support.threads import at_once

from .conftest import MakeDesk

pytestmark = both_databases

CONFIRMED, UNROUTABLE = [Outcome.CONFIRMED], [Outcome.UNROUTABLE]


def subscribe(desk: Desk, *binding_keys: str) -> None:
    desk.consumer(subscription("handler", *binding_keys), start=False).close()


def is_read_again(desk: Desk) -> bool:
    """Whether the next publish reads the bindings."""
    with CaptureQueriesContext(connection) as queries:
        desk.publish(message("one.a"))
    return any(Binding._meta.db_table in query["sql"] for query in queries)


def test_they_are_read_once(desk: Desk) -> None:
    subscribe(desk, "one.*")

    assert is_read_again(desk)
    assert not is_read_again(desk)


def test_what_another_process_subscribes_counts_at_once(make_desk: MakeDesk) -> None:
    ours, theirs = make_desk(), make_desk(service="another")
    assert ours.publish(message("one.a")) == UNROUTABLE
    subscribe(theirs, "one.*")
    assert ours.publish(message("one.a")) == CONFIRMED
    assert ours.publish(message("two.a")) == UNROUTABLE
    subscribe(theirs, "two.*")

    assert ours.publish(message("two.a")) == CONFIRMED


def test_what_is_subscribed_in_a_transaction_counts_in_it(desk: Desk) -> None:
    subscribe(desk, "one.*")
    with transaction.atomic():
        subscribe(desk, "two.*")
        assert desk.publish(message("two.a")) == CONFIRMED

    assert desk.publish(message("two.a")) == CONFIRMED


def test_what_was_rolled_back_does_not_count(desk: Desk) -> None:
    subscribe(desk, "one.*")
    with suppress(ZeroDivisionError), transaction.atomic():
        subscribe(desk, "two.*")
        assert desk.publish(message("two.a")) == CONFIRMED
        raise ZeroDivisionError
    assert desk.publish(message("two.a")) == UNROUTABLE
    # Other than the one that was rolled back, though it is the second again.
    subscribe(desk, "three.*")

    assert desk.publish(message("two.a")) == UNROUTABLE
    assert desk.publish(message("three.a")) == CONFIRMED


def test_a_binding_that_is_deleted_counts_until_the_exchange_changes(desk: Desk) -> None:
    """As by hand: the queue's own end, which the transport sees to, is told of."""
    subscribe(desk, "one.*", "two.*")
    assert desk.publish(message("one.a")) == CONFIRMED
    Binding.objects.filter(key="one.*").delete()
    Exchange.objects.update(version=0)

    assert desk.publish(message("one.a")) == UNROUTABLE
    assert desk.publish(message("two.a")) == CONFIRMED


def test_declaring_the_same_at_once_makes_it_once() -> None:
    def declare_it() -> int:
        wanted = subscription("handler", "one.*", "two.*")
        return declare("default", "domain-events", "topic", wanted, "", 15.0)

    (queue,) = set(at_once(*[declare_it] * 4))

    assert Queue.objects.get(name="handler").pk == queue
    assert sorted(Binding.objects.values_list("key", flat=True)) == ["one.*", "two.*"]
    assert Exchange.objects.count() == 1


@pytest.mark.parametrize("kind", ["topic", "direct", "fanout"])
def test_many_keys_do_not_cost_many_queries(make_desk: MakeDesk, kind: str) -> None:
    desk = make_desk(exchange_type=kind)
    subscribe(desk, "one.*")
    desk.publish(message("one.a"))
    with CaptureQueriesContext(connection) as queries:
        desk.publish(*[message(f"one.{number}") for number in range(200)])

    assert len(queries) < 10
