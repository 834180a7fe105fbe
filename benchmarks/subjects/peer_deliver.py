"""``manage.py deliver_events`` of django-domain-events, to a receiver that does nothing.

A step is all that it does for an event. On SQLite it refuses to run on and on: there it is one
``--once``.
"""

from django.core.management import call_command
from django.db import connection

from .peer_declarations import UserRegistered, declare
from .slices import Slices


def main() -> None:
    slices = Slices()

    def count(event: UserRegistered) -> None:
        if not slices.step():
            raise SystemExit

    declare(count)
    can_run_on = connection.features.has_select_for_update_skip_locked
    call_command("deliver_events", once=not can_run_on)
