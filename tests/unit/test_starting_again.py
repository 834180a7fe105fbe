"""`Subscriber.start_consuming` again, at the same time, and after a start that failed."""

import pytest

from domain_event_broker import publish_domain_event
from domain_event_broker.errors import TopologyMismatch, TransportError
from tests.support.waiting import wait_until

from .helpers import LIMIT_SECONDS, Background, Recorder, subscriber


def publish(url: str, *numbers: int) -> None:
    for number in numbers:
        publish_domain_event("a.b", number, connection_settings=url)


def test_handlers_last_from_one_run_to_the_next(url: str) -> None:
    handler = Recorder()
    subscribed = subscriber(url, handler)
    for number in range(3):
        publish(url, number)
        subscribed.start_consuming(LIMIT_SECONDS, max_events=1)
    publish(url, 3)
    subscriber(url, handler).start_consuming(LIMIT_SECONDS, max_events=1)

    assert handler.data == [0, 1, 2, 3]


def test_subscribers_of_one_name_share_its_events(url: str) -> None:
    one, other = Recorder(), Recorder()
    first, second = subscriber(url, one), subscriber(url, other)
    with Background(first), Background(second):
        publish(url, *range(50))
        wait_until(lambda: len(one.events) + len(other.events) == 50)

    assert sorted(one.data + other.data) == list(range(50))


def test_its_consumers_are_closed_when_it_returns(url: str) -> None:
    first = subscriber(url, Recorder(), exclusive=True)
    with pytest.raises(TopologyMismatch):
        subscriber(url, Recorder(), exclusive=True)
    first.start_consuming(timeout=0)

    subscriber(url, Recorder(), exclusive=True)


def test_it_consumes_once_at_a_time(url: str) -> None:
    handler = Recorder()
    subscribed = subscriber(url, handler)
    with Background(subscribed):
        publish(url, 1)
        wait_until(lambda: handler.events)
        with pytest.raises(TransportError, match="consuming already"):
            subscribed.start_consuming(timeout=0)
        publish(url, 2)
        wait_until(lambda: len(handler.events) == 2)


def test_a_start_that_failed_may_be_tried_again(url: str) -> None:
    handler = Recorder()
    subscribed = subscriber(url, handler, exclusive=True)
    subscribed.disconnect()
    rival = subscriber(url, Recorder(), exclusive=True)
    for _ in range(2):
        with pytest.raises(TopologyMismatch):
            subscribed.start_consuming(timeout=0)
    rival.disconnect()

    def is_delivered() -> bool:
        publish(url, 1)
        return bool(handler.events)

    with Background(subscribed):
        wait_until(is_delivered)


def test_a_start_that_failed_leaves_nothing_behind(url: str) -> None:
    subscribed = subscriber(url, Recorder(), "first", exclusive=True)
    subscribed.register(Recorder(), "second", ["#"], exclusive=True)
    subscribed.disconnect()
    subscriber(url, Recorder(), "second", exclusive=True)
    with pytest.raises(TopologyMismatch):
        subscribed.start_consuming(timeout=0)

    subscriber(url, Recorder(), "first", exclusive=True)
