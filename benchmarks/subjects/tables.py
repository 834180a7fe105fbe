"""The tables of this process's apps, in its only database."""

from django.core.management import call_command
from django.db import connection


def make_empty_tables() -> None:
    """Make the tables where they are missing; empty them where they are not."""
    call_command("migrate", interactive=False, verbosity=0)
    call_command("flush", interactive=False, verbosity=0)


def analyse_tables() -> None:
    """Have PostgreSQL's planner know what was stored, as autovacuum would within a minute."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
