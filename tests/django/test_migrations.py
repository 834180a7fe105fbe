"""The app's migrations: forward, backward, and where routers want the tables."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connections
from pytest_django import Settings

from domain_event_broker.django.models import (
    DeadLetter,
    InboxEntry,
    OutboxEvent,
    QueuedMessage,
)
from domain_event_broker.django.sending import outbox

from .marks import both_databases
from .project import Project
from .rows import DEFAULT, LONG, names_of, put

pytestmark = both_databases

APP = "domain_event_broker"
TABLES_OF = {
    "0001": {"outboxevent"},
    "0002": {"inboxentry"},
    "0003": {"exchange", "queue", "binding", "queuedmessage"},
    "0004": {"deadletter"},
}
ALL = {table for tables in TABLES_OF.values() for table in tables}


def migrate(target: str | None = None, alias: str = DEFAULT) -> None:
    names = [APP] if target is None else [APP, target]
    call_command("migrate", *names, database=alias, verbosity=0)


def tables(alias: str = DEFAULT) -> set[str]:
    """The app's tables that are there, without its label."""
    connection = connections[alias]
    with connection.cursor() as cursor:
        names = connection.introspection.table_names(cursor)
    return {name.removeprefix(f"{APP}_") for name in names if name.startswith(f"{APP}_")}


def written_before() -> None:
    """A row as those wrote it who knew nothing of later columns; it is due."""
    columns = "event_id, routing_key, body, properties, lease_token, due_at"
    with connections[DEFAULT].cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {OutboxEvent._meta.db_table} ({columns}) "
            "VALUES ('a', 'order.placed', %s, '{}', '', '2020-01-01 00:00:00')",
            [b""],
        )


@pytest.fixture
def without_tables() -> Iterator[None]:
    """The database "default" without the app's tables; they are there again after the test."""
    migrate("zero")
    try:
        yield
    finally:
        migrate()


def test_the_tables_are_named_after_the_label() -> None:
    models = apps.get_app_config(APP).get_models()

    assert {model._meta.db_table for model in models} == {f"{APP}_{table}" for table in ALL}
    assert tables() == tables("other") == ALL


@pytest.mark.usefixtures("without_tables")
class TestSteps:
    def test_each_forward_and_backward(self) -> None:
        assert tables() == set()
        there: set[str] = set()
        for target, made in TABLES_OF.items():
            migrate(target)
            there = there | made
            assert tables() == there
        for target in ("0003", "0002", "0001"):
            migrate(target)
            there = there - TABLES_OF[f"{int(target) + 1:04}"]
            assert tables() == there
        migrate("zero")
        assert tables() == set()

    def test_what_was_migrated_back_and_forth_works(self) -> None:
        migrate()
        put("a")
        for target in ("0003", "0001"):
            migrate(target)
            migrate()

        assert names_of(outbox(DEFAULT).claim(5, "a token", LONG)) == ["a"]

    def test_one_that_has_rows_gets_the_next_column(self) -> None:
        """Events that wait while a project deploys are for everybody."""
        migrate("0003")
        written_before()
        migrate()

        assert [each.handler for each in outbox(DEFAULT).claim(5, "a token", LONG)] == [""]

    def test_processes_of_before_write_on(self) -> None:
        migrate()
        written_before()

        assert [each.handler for each in outbox(DEFAULT).claim(5, "a token", LONG)] == [""]

    @pytest.mark.parametrize(
        ("model", "name"),
        [
            (OutboxEvent, "deb_outbox_due"),
            (InboxEntry, "deb_inbox_once"),
            (QueuedMessage, "deb_queue_due"),
            (DeadLetter, "deb_dead_letter_state"),
        ],
    )
    def test_indexes_have_names_that_last(
        self, model: type[OutboxEvent | InboxEntry | QueuedMessage | DeadLetter], name: str
    ) -> None:
        migrate()
        connection = connections[DEFAULT]
        with connection.cursor() as cursor:
            there = connection.introspection.get_constraints(cursor, model._meta.db_table)

        assert name in there

    def test_routers_decide_where(self, settings: Settings) -> None:
        settings.DATABASE_ROUTERS = ["tests.django.routers.InOther"]
        migrate()
        migrate(alias="other")

        assert (tables(), tables("other")) == (set(), ALL)
        migrate("zero")  # for they are noted as applied
        settings.DATABASE_ROUTERS = []


def test_the_models_need_no_other_migration() -> None:
    call_command("makemigrations", APP, check=True, dry_run=True, verbosity=0)


def test_no_constraint_ties_a_message_to_its_queue() -> None:
    """So that a queue which goes with its consumer fails no publisher's commit."""
    QueuedMessage.objects.create(
        queue_id=2**40, event_id="a", routing_key="a.b", body=b"", properties="{}"
    )

    assert QueuedMessage.objects.count() == 1


def test_a_project_that_has_nothing_else(project: Project) -> None:
    back = project.run("migrate", APP, "zero")
    forth = project.run("migrate")

    assert (back.returncode, back.stderr) == (0, "")
    assert (forth.returncode, forth.stderr) == (0, "")
    query = f"SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE '{APP}%'"
    assert {name for (name,) in project.rows(query)} == {f"{APP}_{table}" for table in ALL}
