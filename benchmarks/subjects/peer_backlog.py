"""Fires events, all in one transaction, for `peer_deliver`."""

from django.db import transaction
from django_domain_events import fire  # type: ignore[import-not-found]

from .output import tell
from .peer_declarations import declare, do_nothing, user_registered
from .tables import analyse_tables, make_empty_tables


def main(count: int) -> None:
    make_empty_tables()
    declare(do_nothing)
    with transaction.atomic():
        for _ in range(count):
            fire(user_registered())
    analyse_tables()
    tell(stored=count)
