"""Publishing to many handlers on the database transport, in one transaction, and consuming that.

Ends with the last event handled: the transport then takes half a second to stop listening.
"""

from django.db import transaction

from domain_event_broker import Subscriber, publish_domain_events
from domain_event_broker.handling import Report

from . import many
from .clock import Stopwatch
from .output import tell
from .tables import analyse_tables, make_empty_tables


def main(count: int, handlers: int) -> None:
    make_empty_tables()
    ended: list[dict[str, float]] = []
    left = count

    def note(report: Report) -> None:
        nonlocal left
        left -= 1
        if not left:
            ended.append(watch.figures(count))

    subscriber = Subscriber(on_report=note)
    for name, key in zip(many.names(handlers), many.keys(handlers), strict=True):
        subscriber.register(many.do_nothing, name, [key], dead_letter=False)
    tell(**published(count, handlers))
    analyse_tables()
    watch = Stopwatch()
    subscriber.start_consuming(max_events=count)
    tell(**ended[0])


def published(count: int, handlers: int) -> dict[str, float]:
    events = many.events(count, handlers)
    watch = Stopwatch()
    with transaction.atomic():
        publish_domain_events(events)
    return watch.figures(count)
