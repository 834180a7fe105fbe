"""Many rows at once: copies of the only one (PostgreSQL only)."""

from django.db import connection
from django.db.models import Model


def copy_the_row(model: type[Model], times: int) -> None:
    fields = model._meta.concrete_fields
    columns = ", ".join(str(field.column) for field in fields if not field.primary_key)
    table = model._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({columns}) SELECT {columns} "
            f"FROM {table} CROSS JOIN generate_series(1, %s)",
            [times],
        )
