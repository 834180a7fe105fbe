"""A clean stop with many events at hand: what was handled does not come again."""

from __future__ import annotations

from threading import Event

import pytest

from domain_event_broker import DomainEvent, Subscriber, publish_domain_events
from tests.amqp.support import PATIENCE_SECONDS, Recorder
from tests.support.consuming import consuming
from tests.support.raw_amqp import ready_count
from tests.support.waiting import wait_until

MANY = 500
HELD = 5


def publish(url: str, count: int) -> None:
    events = [DomainEvent("test.event", {"number": number}) for number in range(count)]
    assert all(result.error is None for result in publish_domain_events(events, url))


# Several times: a broker that forgets an ack does so now and then.
@pytest.mark.parametrize("attempt", range(5))
@pytest.mark.parametrize("is_slow", [False, True])
def test_what_was_handled_does_not_come_again(broker_url: str, is_slow: bool, attempt: int) -> None:
    may_go = Event()
    handler = Recorder(
        lambda event: event.data["number"] + 1 < HELD or may_go.wait(PATIENCE_SECONDS)
    )
    subscriber = Subscriber({"URL": broker_url, "PREFETCH": MANY})
    subscriber.register(handler, "stopped", ["#"])
    publish(broker_url, MANY)
    with consuming(subscriber):
        handler.wait_for(HELD)
        # All the others are at hand, and go back.
        wait_until(lambda: ready_count(broker_url, "stopped") == 0, PATIENCE_SECONDS)
        subscriber.stop_consuming()
        if is_slow:  # others do not wait for a handler that takes its time
            wait_until(lambda: ready_count(broker_url, "stopped") == MANY - HELD, PATIENCE_SECONDS)
        may_go.set()

    assert len(handler.events) == HELD
    # The broker has been told, and takes a moment.
    wait_until(lambda: ready_count(broker_url, "stopped") == MANY - HELD, PATIENCE_SECONDS)
