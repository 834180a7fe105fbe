"""How often an event that is retried comes back, and not before its time."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from domain_event_broker import DomainEvent, Retry, Subscriber, publish_domain_event
from tests.amqp.support import Recorder, wait_for_dead_letter, wait_until_empty
from tests.support.consuming import consuming

CHANGING = (0.45, 0, 0.05, 0.3)


class Retrying(Recorder):
    """Asks for a retry each time, and notes which runs came before they were due."""

    def __init__(self, delay_seconds: Callable[[int], float]) -> None:
        super().__init__()
        self.early_seconds: list[float] = []
        self._delay_seconds = delay_seconds
        self._due_at = 0.0

    def __call__(self, event: DomainEvent) -> None:
        # The clock of due-at, which counts whole milliseconds.
        now = time.time()
        if now < self._due_at - 0.001:
            self.early_seconds.append(self._due_at - now)
        super().__call__(event)
        delay_seconds = self._delay_seconds(event.retries)
        self._due_at = time.time() + delay_seconds
        raise Retry(delay_seconds)


@pytest.mark.parametrize(
    "delay_seconds",
    [
        pytest.param(lambda retries: 0.2, id="constant"),
        pytest.param(lambda retries: 0.1 * 3**retries, id="growing"),
        pytest.param(lambda retries: CHANGING[retries], id="changing"),
        pytest.param(lambda retries: 0, id="none"),
    ],
)
def test_three_retries_make_four_attempts(
    broker_url: str, delay_seconds: Callable[[int], float]
) -> None:
    handler = Retrying(delay_seconds)
    subscriber = Subscriber(broker_url)
    subscriber.register(handler, "stubborn", ["test.*"], max_retries=3)
    published = publish_domain_event("test.retried", {"a": 1}, connection_settings=broker_url)
    with consuming(subscriber):
        dead_letter = wait_for_dead_letter(broker_url, "stubborn")
    assert handler.retries == [0, 1, 2, 3]
    assert handler.events == [published] * 4
    assert handler.early_seconds == []
    assert dead_letter.reason == "retries-exhausted"
    assert dead_letter.error_type == "domain_event_broker.retrying.Retry"
    assert dead_letter.raw.headers["deb-retries"] == 3
    assert dead_letter.raw.headers["deb-handler"] == "stubborn"
    wait_until_empty(broker_url, "stubborn")


def test_a_handler_without_retries_has_its_event_dead_lettered(broker_url: str) -> None:
    handler = Retrying(lambda retries: 0.1)
    subscriber = Subscriber(broker_url)
    subscriber.register(handler, "once", ["test.*"])
    publish_domain_event("test.retried", {}, connection_settings=broker_url)
    with consuming(subscriber):
        dead_letter = wait_for_dead_letter(broker_url, "once")
    assert handler.retries == [0]
    assert dead_letter.reason == "retries-exhausted"


def test_an_event_that_succeeds_at_last_leaves_nothing_behind(broker_url: str) -> None:
    def fail_twice(event: DomainEvent) -> None:
        if event.retries < 2:
            raise Retry(0.1)

    handler = Recorder(fail_twice)
    subscriber = Subscriber(broker_url)
    subscriber.register(handler, "mending", ["test.*"], max_retries=5)
    publish_domain_event("test.retried", {}, connection_settings=broker_url)
    with consuming(subscriber):
        handler.wait_for(3)
    assert handler.retries == [0, 1, 2]
    wait_until_empty(broker_url, "mending")
    wait_until_empty(broker_url, "mending-dl")
