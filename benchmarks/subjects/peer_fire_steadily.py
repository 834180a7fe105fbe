"""`publish_steadily` with django-domain-events' `fire`."""

from django.db import transaction
from django_domain_events import fire  # type: ignore[import-not-found]

from .output import tell
from .pace import at_rate
from .peer_declarations import declare, do_nothing, user_registered


def main(count: int, per_second: float) -> None:
    declare(do_nothing)
    tell(committed_at=at_rate(fire_in_transaction, count, per_second))


def fire_in_transaction(number: int) -> None:
    with transaction.atomic():
        fire(user_registered(number))
