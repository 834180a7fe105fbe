"""Ours beside task queues: one process publishes, and then one handles with one thread.

Told to work, it handles until `count` were; otherwise it publishes, each by itself or all at once.
"""

from domain_event_broker import DomainEvent, Subscriber, publish_domain_event, publish_domain_events

from .clock import Stopwatch
from .event import BINDING_KEY, HANDLER, ROUTING_KEY, USER_ID, data
from .handled import Handled
from .output import tell


def main(works: bool, count: int, broker_url: str, at_once: bool) -> None:
    subscriber = Subscriber(broker_url)
    handled = Handled()

    def handle(event: DomainEvent) -> None:
        handled.note()

    subscriber.register(handle, HANDLER, [BINDING_KEY])
    if works:
        subscriber.start_consuming(max_events=count)
        handled.tell()
        return
    subscriber.disconnect()
    send(1, broker_url)  # connects
    watch = Stopwatch()
    (send_at_once if at_once else send)(count - 1, broker_url)
    tell(**watch.figures(count - 1))


def send(count: int, broker_url: str) -> None:
    for _ in range(count):
        publish_domain_event(ROUTING_KEY, data(), str(USER_ID), connection_settings=broker_url)


def send_at_once(count: int, broker_url: str) -> None:
    events = [DomainEvent(ROUTING_KEY, data(), str(USER_ID)) for _ in range(count)]
    publish_domain_events(events, connection_settings=broker_url)
