"""Databases besides those that the project's settings name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.db import connections
from django.db.models import Model

from tests.support.ports import free_ports


@contextmanager
def another_database(alias: str, config: Mapping[str, Any]) -> Iterator[str]:
    """One more in DATABASES, for this process and as long as the block runs."""
    databases = {"default": {}, alias: dict(config)}
    connections.settings[alias] = connections.configure_settings(databases)[alias]
    try:
        yield alias
    finally:
        connections[alias].close()
        del connections[alias], connections.settings[alias]


@contextmanager
def without_table(model: type[Model], alias: str) -> Iterator[None]:
    """The database is as if the model's migration had not run, as long as the block runs."""
    table = model._meta.db_table
    with connections[alias].schema_editor() as editor:
        editor.alter_db_table(model, table, f"hidden_{table}")
    try:
        yield
    finally:
        with connections[alias].schema_editor() as editor:
            editor.alter_db_table(model, f"hidden_{table}", table)


@contextmanager
def unreachable(alias: str) -> Iterator[None]:
    """Nobody can connect to the database, as long as the block runs.

    For threads that have no connection yet; this one's is closed.
    """
    connection = connections[alias]
    connection.close()
    # The threads' connections share it.
    settings = connection.settings_dict
    before = dict(settings)
    if connection.vendor == "sqlite":
        settings["NAME"] = "/nowhere/at/all.sqlite3"
    else:
        settings["PORT"] = str(free_ports(1)[0])
    try:
        yield
    finally:
        connection.close()
        settings.update(before)
