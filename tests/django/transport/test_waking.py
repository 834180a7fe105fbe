"""A consumer that waits is woken by what is published, and need not look all the time."""

from __future__ import annotations

from collections.abc import Container
from contextlib import suppress

import pytest
from django.db import connections, transaction

from domain_event_broker.django.inserting import write_to_queues
from domain_event_broker.django.transport import waking
from domain_event_broker.django.transport.consumer import DatabaseConsumer
from domain_event_broker.django.transport.queues import dead_letters_of
from domain_event_broker.transports.base import Consumer, Delivery
from tests.conformance.harness import LIMIT_SECONDS, Desk, message, subscription
from tests.django.marks import both_databases
from tests.support.threads import start_thread
from tests.support.waiting import wait_until

from .conftest import MakeDesk


class Waiting:
    """A thread that waits for one delivery, and looks by itself no more once it does."""

    def __init__(self, consumer: Consumer) -> None:
        self.received: list[Delivery | None] = []
        self._consumer = consumer
        self._thread = start_thread(self._receive)

    def _receive(self) -> None:
        self.received.append(self._consumer.receive(LIMIT_SECONDS))

    def ends(self) -> Delivery | None:
        """What came; fails where nothing ended the wait."""
        self._thread.join(LIMIT_SECONDS / 2)
        assert not self._thread.is_alive(), "it was not woken"
        (delivery,) = self.received
        return delivery

    def message_id(self) -> str | None:
        delivery = self.ends()
        assert delivery is not None
        return delivery.message.message_id


def wait_for_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Waiting:
    """A consumer that has looked, found nothing, and waits."""
    consumer = desk.consumer(subscription("handler", "order.*"))
    assert isinstance(consumer, DatabaseConsumer)
    looks: list[float] = []
    claim = consumer._claim

    def look(without: Container[str], deadline: float) -> float:
        looks.append(claim(without, deadline))
        return looks[-1]

    monkeypatch.setattr(consumer, "_claim", look)
    waiting = Waiting(consumer)
    wait_until(lambda: looks)
    return waiting


@both_databases
@pytest.mark.usefixtures("patient")
class TestInThisProcess:
    @pytest.fixture
    def waiting(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Waiting:
        return wait_for_one(desk, monkeypatch)

    def test_by_what_is_published(self, desk: Desk, waiting: Waiting) -> None:
        sent = message("order.placed")
        desk.publish(sent)

        assert waiting.message_id() == sent.message_id

    def test_by_the_commit(self, desk: Desk, waiting: Waiting) -> None:
        sent = message("order.placed")
        with suppress(ZeroDivisionError), transaction.atomic():
            desk.publish(message("order.placed"))
            raise ZeroDivisionError
        with transaction.atomic():
            desk.publish(sent)
            assert waiting.received == []

        assert waiting.message_id() == sent.message_id

    def test_by_what_is_replayed(self, desk: Desk, waiting: Waiting) -> None:
        sent = message("order.placed")
        write_to_queues([(dead_letters_of("default", "handler"), sent)], connections["default"])
        with desk.transport.dead_letters("handler") as box:
            (dead_letter,) = box.take(1)
            box.replay(dead_letter, sent)

        assert waiting.message_id() == sent.message_id

    def test_by_the_stop(self, desk: Desk, waiting: Waiting) -> None:
        desk.close()

        assert waiting.ends() is None


@pytest.mark.usefixtures("patient")
class TestFromAnotherProcess:
    """By PostgreSQL's NOTIFY."""

    @pytest.fixture
    def desk(self, postgresql_alias: str, make_desk: MakeDesk) -> Desk:
        return make_desk(f"database://{postgresql_alias}")

    @pytest.fixture
    def waiting(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Waiting:
        waiting = wait_for_one(desk, monkeypatch)
        # As if what is published here were published elsewhere.
        monkeypatch.setattr(waking, "_wakers", {})
        return waiting

    def test_by_what_is_published(
        self, desk: Desk, waiting: Waiting, postgresql_alias: str
    ) -> None:
        wait_until(lambda: listeners(postgresql_alias))
        sent = message("order.placed")
        desk.publish(sent)

        assert waiting.message_id() == sent.message_id

    def test_by_the_commit(self, desk: Desk, waiting: Waiting, postgresql_alias: str) -> None:
        wait_until(lambda: listeners(postgresql_alias))
        with suppress(ZeroDivisionError), transaction.atomic(using=postgresql_alias):
            desk.publish(message("order.placed"))
            raise ZeroDivisionError
        sent = message("order.placed")
        with transaction.atomic(using=postgresql_alias):
            desk.publish(sent)
            assert waiting.received == []

        assert waiting.message_id() == sent.message_id

    def test_also_after_the_listener_lost_its_connection(
        self,
        desk: Desk,
        waiting: Waiting,
        postgresql_alias: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(waking, "_RECONNECT_SECONDS", 0.05)
        (first,) = wait_until(lambda: listeners(postgresql_alias))
        with connections[postgresql_alias].cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 10000)", [first])
        wait_until(lambda: set(listeners(postgresql_alias)) - {first})
        sent = message("order.placed")
        desk.publish(sent)

        assert waiting.message_id() == sent.message_id


def listeners(alias: str) -> list[int]:
    """The server's processes of the connections that listen."""
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity "
            "WHERE datname = current_database() AND query LIKE 'LISTEN%%' AND state = 'idle'",
            [],
        )
        return [pid for (pid,) in cursor.fetchall()]
