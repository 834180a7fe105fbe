"""What the databases say differently: their time, and which of them we run on."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.dummy.base import DatabaseWrapper as NoDatabase

from domain_event_broker.django.dialects import (
    FromNow,
    UnsupportedDatabase,
    check_supported,
    is_supported,
    seconds_until,
)
from domain_event_broker.django.models import OutboxEvent
from domain_event_broker.errors import ConfigurationError
from tests.support.waiting import wait_until

DAY = 24 * 3600.0


def of_another_kind(vendor: str) -> BaseDatabaseWrapper:
    """A connection to a database that cannot be had here."""
    other: BaseDatabaseWrapper = connection.copy()
    other.vendor = vendor
    return other


def row(**times: FromNow) -> OutboxEvent:
    """A row of the outbox, whose times are set by one statement."""
    pk = OutboxEvent.objects.create(event_id="id", routing_key="a.b", body=b"", properties="{}").pk
    if times:
        OutboxEvent.objects.filter(pk=pk).update(**times)
    return OutboxEvent.objects.get(pk=pk)


@pytest.mark.django_db
class TestFromNow:
    @pytest.mark.parametrize(
        "seconds", [0.0, 0.001, 0.25, 1, 14.999, 15, 30 * DAY, 1e-9, -0.001, -0.5, -45 * DAY]
    )
    def test_it_is_so_many_seconds_from_now(self, seconds: float) -> None:
        written = row(created_at=FromNow(), due_at=FromNow(seconds))

        assert written.due_at is not None
        came = (written.due_at - written.created_at) / timedelta(seconds=1)
        assert came == pytest.approx(seconds, abs=0.0006)

    def test_times_are_compared_by_the_millisecond(self) -> None:
        written = row(created_at=FromNow(), due_at=FromNow(0.001))

        assert OutboxEvent.objects.filter(pk=written.pk, due_at__gt=written.created_at).exists()

    def test_a_row_s_default_is_the_same_clock(self) -> None:
        row()

        assert OutboxEvent.objects.filter(due_at__lte=FromNow()).count() == 1
        assert OutboxEvent.objects.filter(due_at__gt=FromNow(-60)).count() == 1

    def test_the_clock_goes_on_inside_a_transaction(self) -> None:
        def time_now() -> datetime:
            return row(created_at=FromNow()).created_at

        with transaction.atomic():
            first = time_now()
            wait_until(lambda: time_now() > first)

    @pytest.mark.parametrize("seconds", [60.0, -60.0])
    def test_how_long_until_then_is_told(self, seconds: float) -> None:
        row(due_at=FromNow(seconds))
        with connection.cursor() as cursor:
            table = OutboxEvent._meta.db_table
            cursor.execute(f"SELECT {seconds_until('due_at', connection)} FROM {table}", [])
            ((left,),) = cursor.fetchall()

        assert isinstance(left, float)
        assert seconds - 30 < left < seconds + 0.001


class TestKinds:
    def test_the_project_s_own_is_supported(self) -> None:
        assert is_supported(connection)
        check_supported(connection)

    @pytest.mark.parametrize("vendor", ["mysql", "oracle", "microsoft"])
    def test_another_is_refused_with_what_to_do(self, vendor: str) -> None:
        other = of_another_kind(vendor)

        assert not is_supported(other)
        with pytest.raises(UnsupportedDatabase) as caught:
            check_supported(other)
        assert isinstance(caught.value, ConfigurationError)
        told = str(caught.value)
        assert f"The database 'default' is of the kind {vendor!r};" in told
        for advice in ("OUTBOX to False", "inbox=False", "using="):
            assert advice in told

    def test_an_sqlite_without_returning_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 34, 1))
        monkeypatch.setattr("sqlite3.sqlite_version", "3.34.1")

        with pytest.raises(UnsupportedDatabase, match=r"^SQLite 3\.34\.1 is too old.* 3\.35\."):
            check_supported(of_another_kind("sqlite"))

    def test_none_at_all_is_refused_with_what_to_do(self) -> None:
        with pytest.raises(UnsupportedDatabase, match=r"DATABASES names no database;.*inbox=False"):
            check_supported(NoDatabase({}, "default"))

    def test_no_statement_is_made_for_another(self) -> None:
        compiler: Any = None

        with pytest.raises(UnsupportedDatabase):
            FromNow().as_sql(compiler, of_another_kind("mysql"))
