"""A server that ends our connections: the next try opens others."""

from __future__ import annotations

import pytest
from django.db import connections

from domain_event_broker.errors import BrokerUnavailable
from domain_event_broker.transports.base import Consumer, Outcome
from tests.conformance.harness import LIMIT_SECONDS, Desk, message, receive, subscription
from tests.support.waiting import wait_until

from .conftest import MakeDesk


@pytest.fixture
def alias(postgresql_alias: str) -> str:
    return postgresql_alias


@pytest.fixture
def desk(alias: str, make_desk: MakeDesk) -> Desk:
    return make_desk(f"database://{alias}")


def end_all_connections(alias: str) -> None:
    """This thread's, too, and it does not know."""
    other = connections[alias].copy()
    with other.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    other.close()


def test_publishing_goes_on_with_the_next(desk: Desk, alias: str) -> None:
    desk.consumer(subscription()).close()
    end_all_connections(alias)
    (failed,) = desk.transport.publish([message()], LIMIT_SECONDS)

    assert failed.outcome is Outcome.UNKNOWN
    assert isinstance(failed.error, BrokerUnavailable)
    assert desk.publish(message()) == [Outcome.CONFIRMED]


def test_subscribing_too(desk: Desk, alias: str) -> None:
    consumer = desk.consumer()
    end_all_connections(alias)

    with pytest.raises(BrokerUnavailable):
        consumer.subscribe(subscription())
    consumer.subscribe(subscription())
    assert desk.publish(message()) == [Outcome.CONFIRMED]


def test_counting_too(desk: Desk, alias: str) -> None:
    consumer = desk.consumer(subscription())
    end_all_connections(alias)

    with pytest.raises(BrokerUnavailable):
        consumer.waiting()
    assert consumer.waiting() == 0


def test_receiving_and_settling_go_on_by_themselves(desk: Desk, alias: str) -> None:
    consumer = desk.consumer(subscription())
    first, second = message(), message()
    desk.publish(first, second)
    delivery = receive(consumer)
    end_all_connections(alias)
    consumer.ack(delivery)

    assert settled(consumer)
    assert receive(consumer).message.message_id == second.message_id


def settled(consumer: Consumer) -> bool:
    return wait_until(lambda: consumer.flush(LIMIT_SECONDS))


def test_looking_into_dead_letters_goes_on_with_the_next(desk: Desk, alias: str) -> None:
    desk.consumer(subscription()).close()
    box = desk.transport.dead_letters("handler")
    end_all_connections(alias)

    with pytest.raises(BrokerUnavailable):
        box.count()
    assert box.count() == 0
    box.close()
