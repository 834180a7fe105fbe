"""Fills the outbox, for `relay`: copies of one real row, all of them due (PostgreSQL only)."""

from django.db import connection

from domain_event_broker import publish_domain_event
from domain_event_broker.django.models import OutboxEvent

from .event import ROUTING_KEY, USER_ID, data
from .outbox import send_nothing
from .output import tell
from .tables import analyse_tables, make_empty_tables


def main(count: int) -> None:
    make_empty_tables()
    send_nothing()
    publish_domain_event(ROUTING_KEY, data(), domain_object_id=str(USER_ID))
    OutboxEvent.objects.all().give_back()
    copy_the_row(count - 1)
    analyse_tables()
    tell(stored=OutboxEvent.objects.count())


def copy_the_row(times: int) -> None:
    fields = OutboxEvent._meta.concrete_fields
    columns = ", ".join(field.name for field in fields if not field.primary_key)
    table = OutboxEvent._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({columns}) SELECT {columns} "
            f"FROM {table} CROSS JOIN generate_series(1, %s)",
            [times],
        )
