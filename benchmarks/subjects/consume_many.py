"""`consume` with many handlers, in one process and one thread."""

from domain_event_broker import Subscriber

from . import many
from .consuming import begin, end


def main(count: int, handlers: int, broker_url: str) -> None:
    subscriber = Subscriber(broker_url)
    for name, key in zip(many.names(handlers), many.keys(handlers), strict=True):
        subscriber.register(many.do_nothing, name, [key], dead_letter=False)
    watch = begin()
    subscriber.start_consuming(max_events=count)
    end(watch, count)
