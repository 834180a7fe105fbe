"""A field of our own."""

from __future__ import annotations

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper


class RowAutoField(models.BigAutoField):  # type: ignore[type-arg]
    """A `BigAutoField` that lets SQLite use the id of a deleted last row again.

    For rows that nobody knows by their ids. SQLite's AUTOINCREMENT, which prevents that, writes one
    more page with each insert: https://www.sqlite.org/autoinc.html.
    """

    def db_type_suffix(self, connection: BaseDatabaseWrapper) -> str | None:
        return None if connection.vendor == "sqlite" else super().db_type_suffix(connection)
