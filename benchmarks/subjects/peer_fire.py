"""`fire` of django-domain-events, each in a transaction of its own, with one receiver declared.

So it writes two rows: the event and what is owed to the receiver.
"""

from django.db import transaction
from django_domain_events import fire  # type: ignore[import-not-found]

from .peer_declarations import declare, do_nothing, user_registered
from .slices import serve
from .tables import make_empty_tables


def main(atomic: bool) -> None:
    make_empty_tables()
    declare(do_nothing)
    serve(fire_in_transaction if atomic else fire_alone)


def fire_in_transaction() -> None:
    with transaction.atomic():
        fire_alone()


def fire_alone() -> None:
    fire(user_registered())
