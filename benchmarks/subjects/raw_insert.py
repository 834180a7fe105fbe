"""The limit: one INSERT of what an event has, in a transaction of its own, through Django.

The table has a serial primary key and the columns of the outbox that hold the event; nothing is
encoded, sent or deleted.
"""

from functools import partial
from uuid import uuid4

from django.db import connection, transaction

from .event import ROUTING_KEY
from .slices import serve

KEY_TYPE = {
    "postgresql": "bigserial PRIMARY KEY",
    "sqlite": "integer PRIMARY KEY AUTOINCREMENT",
}
BINARY_TYPE = {"postgresql": "bytea", "sqlite": "blob"}
INSERT = (
    "INSERT INTO raw_event (event_id, routing_key, body, properties, lease_token) "
    "VALUES (%s, %s, %s, %s, %s)"
)
BODY = b"b" * 279
PROPERTIES = "p" * 247


def main(atomic: bool) -> None:
    make_empty_table()
    identity = uuid4()
    values = (str(identity), ROUTING_KEY, BODY, PROPERTIES, identity.hex)
    serve(partial(insert_in_transaction if atomic else insert, values))


def make_empty_table() -> None:
    key, binary = KEY_TYPE[connection.vendor], BINARY_TYPE[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS raw_event")
        cursor.execute(
            f"CREATE TABLE raw_event (id {key}, event_id text NOT NULL, "
            f"routing_key text NOT NULL, body {binary} NOT NULL, properties text NOT NULL, "
            "lease_token text NOT NULL)"
        )


def insert_in_transaction(values: tuple[str | bytes, ...]) -> None:
    with transaction.atomic():
        insert(values)


def insert(values: tuple[str | bytes, ...]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(INSERT, values)
