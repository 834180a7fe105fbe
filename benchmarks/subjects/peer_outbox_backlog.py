"""Fills the outbox of django-outbox-pattern, for `peer_relay`: persistent messages, to be sent."""

import json

from django_outbox_pattern.headers import get_message_headers  # type: ignore[import-not-found]
from django_outbox_pattern.models import Published  # type: ignore[import-not-found]

from .event import BODY, EXCHANGE, ROUTING_KEY
from .output import tell
from .tables import analyse_tables, make_empty_tables


def main(count: int) -> None:
    make_empty_tables()
    Published.objects.bulk_create((a_row() for _ in range(count)), batch_size=1_000)
    analyse_tables()
    tell(stored=Published.objects.count())


def a_row() -> Published:
    row = Published(
        destination=f"/exchange/{EXCHANGE}/{ROUTING_KEY}",
        body=json.loads(BODY),
        headers={"persistent": "true"},
    )
    row.headers = get_message_headers(row)  # as `save` does
    return row
