"""A handler that finds an SQLite database locked, which has no patience of its own here."""

from __future__ import annotations

import pytest
from django.db import OperationalError, transaction

from domain_event_broker import DomainEvent
from domain_event_broker.django import care
from domain_event_broker.django.care import DatabaseCare
from tests.support.threads import start_thread
from tests.support.waiting import wait_until

from .rows import put, there


def test_it_waits(sqlite_alias: str, caplog: pytest.LogCaptureFixture) -> None:
    handle = DatabaseCare(lambda: False).around(lambda event: put("second", using=sqlite_alias))
    with transaction.atomic(using=sqlite_alias):
        put("first", using=sqlite_alias)
        thread = start_thread(handle, DomainEvent(uuid_string="an id"))
        wait_until(lambda: "Event 'an id' is held: database is locked" in caplog.text)
        # A commit would wait for the other's tries, and this database has no patience.
        transaction.set_rollback(True, using=sqlite_alias)
    thread.join(30)

    assert not thread.is_alive()
    assert there(sqlite_alias) == ["second"]


def test_but_not_for_ever(sqlite_alias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(care, "_MOST_LOCKS", 2)
    errors: list[Exception] = []

    def handle() -> None:
        try:
            DatabaseCare(lambda: False).around(lambda event: put("second", using=sqlite_alias))(
                DomainEvent()
            )
        except OperationalError as error:
            errors.append(error)

    with transaction.atomic(using=sqlite_alias):
        put("first", using=sqlite_alias)
        start_thread(handle).join(30)

    assert len(errors) == 1
    assert there(sqlite_alias) == ["first"]
