"""What a handler with work in the database does here: it inserts one row."""

from typing import Any

from django.db import connection

from domain_event_broker import DomainEvent

CREATE_TABLE = (
    "CREATE TABLE account (id bigserial PRIMARY KEY, name text NOT NULL, email text NOT NULL)"
)
INSERT = "INSERT INTO account (name, email) VALUES (%s, %s)"


def make_empty_table() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS account")
        cursor.execute(CREATE_TABLE)


def insert_from(event: DomainEvent) -> None:
    insert(event.data)


def insert(data: dict[str, Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(INSERT, (data["name"], data["email"]))


def count() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM account")
        return int(cursor.fetchone()[0])
