"""Whether a database is there, has the tables, and is free to write to."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from django.db import OperationalError, connections, transaction
from django.db.utils import Error as DatabaseError
from pytest_django import Settings

from domain_event_broker.django.databases import (
    MissingTables,
    aliases_with,
    check_tables,
    is_there,
    translate,
    waiting_out_locks,
)
from domain_event_broker.django.models import InboxEntry, OutboxEvent, Queue
from domain_event_broker.django.sending import outbox
from domain_event_broker.errors import BrokerUnavailable, DomainEventBrokerError
from tests.support.threads import start_thread

from .databases import unreachable, without_table
from .marks import both_databases
from .rows import DEFAULT, put, there

LIMIT_SECONDS = 30.0


@both_databases
class TestTables:
    def test_all_are_there(self) -> None:
        check_tables(DEFAULT, OutboxEvent, InboxEntry, Queue)

    def test_those_missing_are_named_with_what_to_do(self) -> None:
        with (
            without_table(OutboxEvent, DEFAULT),
            without_table(InboxEntry, DEFAULT),
            pytest.raises(MissingTables) as caught,
        ):
            check_tables(DEFAULT, OutboxEvent, InboxEntry, Queue)

        assert str(caught.value) == (
            "The database 'default' has no table domain_event_broker_inboxentry, "
            "domain_event_broker_outboxevent; run `python manage.py migrate` (where database "
            "routers must allow it)."
        )

    def test_of_another_database_too(self) -> None:
        with (
            without_table(Queue, "other"),
            pytest.raises(MissingTables, match="migrate --database other"),
        ):
            check_tables("other", Queue)

    def test_a_database_that_is_away_is_not_one_without_tables(self) -> None:
        with unreachable(DEFAULT), pytest.raises(BrokerUnavailable, match="'default'") as caught:
            check_tables(DEFAULT, Queue)

        assert isinstance(caught.value.__cause__, OperationalError)
        check_tables(DEFAULT, Queue)

    def test_routers_say_where_they_are(self, settings: Settings) -> None:
        assert aliases_with(OutboxEvent) == [DEFAULT, "other"]
        settings.DATABASE_ROUTERS = ["tests.django.routers.InOther"]
        assert aliases_with(OutboxEvent) == ["other"]
        settings.DATABASE_ROUTERS = ["tests.django.routers.Nowhere"]
        assert aliases_with(OutboxEvent) == []


def translated(work: Callable[[], object]) -> DomainEventBrokerError:
    with pytest.raises(DatabaseError) as caught:
        work()
    error = translate(caught.value, DEFAULT)
    assert error.__cause__ is caught.value
    assert "\n" not in str(error)
    return error


@both_databases
class TestErrors:
    def test_a_missing_table_is_the_configuration_s(self) -> None:
        with without_table(OutboxEvent, DEFAULT):
            error = translated(lambda: put("a"))

        assert isinstance(error, MissingTables)
        assert "domain_event_broker_outboxevent" in str(error)

    def test_all_else_is_an_outage(self) -> None:
        with unreachable(DEFAULT):
            error = translated(lambda: put("a"))

        assert isinstance(error, BrokerUnavailable)
        assert str(error).startswith("The database 'default': ")


def test_a_database_that_nobody_made_is_not_one_without_tables(postgresql_alias: str) -> None:
    connection = connections[postgresql_alias]
    connection.close()
    name, connection.settings_dict["NAME"] = connection.settings_dict["NAME"], "nobody_made_it"
    try:
        with pytest.raises(BrokerUnavailable, match="nobody_made_it"):
            check_tables(postgresql_alias, Queue)
    finally:
        connection.settings_dict["NAME"] = name


@both_databases
def test_a_database_is_there_or_not() -> None:
    assert is_there(connections[DEFAULT])
    with unreachable(DEFAULT):
        assert not is_there(connections[DEFAULT])
    assert is_there(connections[DEFAULT])


class TestLocks:
    """SQLite has one writer at a time, and no patience here."""

    def test_one_is_waited_out(self, sqlite_alias: str) -> None:
        locked, free = threading.Event(), threading.Event()
        tries: list[str] = []

        def hold() -> None:
            with transaction.atomic(using=sqlite_alias):
                put("first", using=sqlite_alias)
                locked.set()
                free.wait(LIMIT_SECONDS)
                # A commit would wait for the other's tries, and this database has no patience.
                transaction.set_rollback(True, using=sqlite_alias)

        def write() -> str:
            tries.append("a try")
            if len(tries) == 3:
                free.set()
            put("second", using=sqlite_alias)
            return "done"

        thread = start_thread(hold)
        locked.wait(LIMIT_SECONDS)
        assert waiting_out_locks(write, LIMIT_SECONDS) == "done"
        thread.join(LIMIT_SECONDS)

        assert len(tries) >= 3
        assert there(sqlite_alias) == ["second"]

    def test_but_not_for_ever(self, sqlite_alias: str) -> None:
        with transaction.atomic(using=sqlite_alias):
            put("first", using=sqlite_alias)
            errors: list[Exception] = []

            def write() -> None:
                try:
                    waiting_out_locks(lambda: put("second", using=sqlite_alias), 0.05)
                except OperationalError as error:
                    errors.append(error)

            start_thread(write).join(LIMIT_SECONDS)

        assert ["locked" in str(error) for error in errors] == [True]

    def test_another_error_is_not_waited_out(self, sqlite_alias: str) -> None:
        tries: list[str] = []

        def fail() -> None:
            tries.append("a try")
            with without_table(OutboxEvent, sqlite_alias):
                outbox(sqlite_alias).count()

        with pytest.raises(OperationalError, match="no such table"):
            waiting_out_locks(fail, LIMIT_SECONDS)
        assert len(tries) == 1
