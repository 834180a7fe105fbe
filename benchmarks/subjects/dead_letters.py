"""Fills the queue of dead letters with failures of three kinds, for those who collect them."""

import logging
from collections.abc import Callable

from domain_event_broker import DomainEvent, Subscriber, publish_domain_events

from .event import BINDING_KEY, HANDLER, ROUTING_KEY, USER_ID, data
from .output import tell
from .tables import make_empty_tables


def main(count: int, broker_url: str) -> None:
    make_empty_tables()
    logging.getLogger("domain_event_broker").setLevel(logging.CRITICAL)  # each is told of
    events = [DomainEvent(ROUTING_KEY, data(), domain_object_id=str(USER_ID)) for _ in range(count)]
    publish_domain_events(events, broker_url)
    subscriber = Subscriber(broker_url)
    subscriber.register(Failing(), HANDLER, [BINDING_KEY])
    subscriber.start_consuming(drain=True)
    tell(stored=count)


class Failing:
    """A handler that fails in one of several ways after the other."""

    def __init__(self) -> None:
        self._runs = 0

    def __call__(self, event: DomainEvent) -> None:
        self._runs += 1
        WAYS[self._runs % len(WAYS)](event)


def miss_a_field(event: DomainEvent) -> None:
    event.data["country"]


def not_reach_a_service(event: DomainEvent) -> None:
    raise ConnectionError(f"No answer about user {event.data['user_id']} within 5 s.")


def refuse_a_value(event: DomainEvent) -> None:
    raise ValueError(f"{event.data['locale']!r} is no locale that mails are written in.")


WAYS: tuple[Callable[[DomainEvent], None], ...] = (
    miss_a_field,
    not_reach_a_service,
    refuse_a_value,
)
