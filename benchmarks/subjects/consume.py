"""`Subscriber` without Django, with a handler that does nothing: from a backlog until it is gone.

It has returned when the broker has confirmed the end of the connection, and so read every ack.
"""

from domain_event_broker import DomainEvent, Subscriber

from .consuming import begin, end
from .event import BINDING_KEY, HANDLER


def main(count: int, broker_url: str) -> None:
    subscriber = Subscriber(broker_url)
    subscriber.register(do_nothing, HANDLER, [BINDING_KEY])
    watch = begin()
    subscriber.start_consuming(max_events=count)
    end(watch, count)


def do_nothing(event: DomainEvent) -> None:
    pass
