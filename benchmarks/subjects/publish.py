"""`publish_domain_event` with the outbox, each event in a transaction of its own.

A slice ends when its last event is published. Where they are sent meanwhile, it is finished when
the broker has confirmed all of them and their rows are deleted.
"""

from django.db import transaction

from domain_event_broker import publish_domain_event

from .event import ROUTING_KEY, USER_ID, data
from .outbox import send_nothing, wait_until_empty
from .slices import serve
from .tables import make_empty_tables


def main(atomic: bool, sending: bool) -> None:
    make_empty_tables()
    step = publish_in_transaction if atomic else publish
    if sending:
        serve(step, finish=wait_until_empty)
    else:
        send_nothing()
        serve(step)


def publish_in_transaction() -> None:
    with transaction.atomic():
        publish()


def publish() -> None:
    publish_domain_event(ROUTING_KEY, data(), domain_object_id=str(USER_ID))
