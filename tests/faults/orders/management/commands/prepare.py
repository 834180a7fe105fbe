"""``prepare``: make the tables, and the handlers' queues."""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Makes the tables, and the handlers' queues."

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", run_syncdb=True, verbosity=0)
        call_command("run_subscriber", drain=True, verbosity=0)
