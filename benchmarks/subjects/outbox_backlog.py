"""Fills the outbox, for `relay`: copies of one real row, all of them due (PostgreSQL only)."""

from domain_event_broker import publish_domain_event
from domain_event_broker.django.models import OutboxEvent

from . import many
from .copying import copy_the_row
from .event import ROUTING_KEY, USER_ID
from .outbox import send_nothing
from .output import tell
from .tables import analyse_tables, make_empty_tables


def main(count: int, text_bytes: int = 0) -> None:
    make_empty_tables()
    send_nothing()
    publish_domain_event(ROUTING_KEY, many.sized(text_bytes), domain_object_id=str(USER_ID))
    OutboxEvent.objects.all().give_back()
    copy_the_row(OutboxEvent, count - 1)
    analyse_tables()
    tell(stored=OutboxEvent.objects.count())
