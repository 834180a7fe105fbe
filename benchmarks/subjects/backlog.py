"""Publishes events to the database transport, all in one transaction, for `deliver`."""

from django.db import transaction

from domain_event_broker import DomainEvent, Subscriber, publish_domain_events

from .event import BINDING_KEY, HANDLER, ROUTING_KEY, USER_ID, data
from .handlers import do_nothing
from .output import tell
from .tables import analyse_tables, make_empty_tables


def main(count: int) -> None:
    make_empty_tables()
    subscriber = Subscriber()
    subscriber.register(do_nothing, HANDLER, [BINDING_KEY])
    subscriber.disconnect()
    with transaction.atomic():
        publish_domain_events(
            [DomainEvent(ROUTING_KEY, data(), domain_object_id=str(USER_ID)) for _ in range(count)]
        )
    analyse_tables()
    tell(stored=count)
