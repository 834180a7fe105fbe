"""`publish_at_once` to many handlers, or of large events."""

from domain_event_broker import publish_domain_events
from domain_event_broker.transports.base import Outcome

from . import many
from .clock import Stopwatch
from .output import tell


def main(count: int, handlers: int, text_bytes: int, broker_url: str) -> None:
    events = many.events(count, handlers, text_bytes)
    # The connection is opened by the first.
    publish_domain_events(events[:1], connection_settings=broker_url)
    watch = Stopwatch()
    results = publish_domain_events(events[1:], connection_settings=broker_url)
    figures = watch.figures(count - 1)
    assert all(result.outcome is Outcome.CONFIRMED for result in results)
    tell(**figures)
