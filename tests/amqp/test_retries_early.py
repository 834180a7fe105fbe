"""A delay is made up of several stays: what comes back early is delayed again, unseen."""

from __future__ import annotations

import time

import pika
import pytest

from domain_event_broker import Subscriber
from domain_event_broker.names import delay_queue
from tests.amqp.support import EXCHANGE, PATIENCE_SECONDS, Recorder, body_of
from tests.support.consuming import consuming
from tests.support.raw_amqp import ready_count, send, take_one
from tests.support.waiting import wait_until

DAYS_10_MS = 10 * 24 * 3600 * 1000
# 9 days and 17 hours: the next one would be too long.
TIER_BELOW_10_DAYS_MS = 100 << 23


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def register(url: str, handler: Recorder, max_retries: int = 1) -> Subscriber:
    subscriber = Subscriber(url)
    subscriber.register(handler, "early", ["test.*"], max_retries=max_retries)
    return subscriber


def hop_back(url: str, due_at_ms: int) -> None:
    """Put a retry into its handler's queue, as a delay queue does."""
    headers = {"deb-retries": 1, "deb-due-at-ms": due_at_ms, "deb-routing-key": "test.hop"}
    properties = pika.BasicProperties(headers=headers, delivery_mode=2)
    send(url, "domain-events-requeue", "early", body_of("test.hop"), properties)


@pytest.mark.parametrize("ahead_seconds", [0.7, 0.15])
def test_what_comes_back_early_is_delayed_again_without_its_handler(
    broker_url: str, ahead_seconds: float
) -> None:
    arrivals_ms: list[int] = []
    handler = Recorder(lambda event: arrivals_ms.append(now_ms()))
    subscriber = register(broker_url, handler)
    due_at_ms = now_ms() + round(ahead_seconds * 1000)
    hop_back(broker_url, due_at_ms)
    with consuming(subscriber):
        handler.wait_for(1)
    assert handler.retries == [1]
    assert handler.keys == ["test.hop"]
    assert arrivals_ms[0] >= due_at_ms


def test_a_time_that_another_client_asked_for_is_kept_without_retries(broker_url: str) -> None:
    """The delay queues are declared when the first event needs them."""
    arrivals_ms: list[int] = []
    handler = Recorder(lambda event: arrivals_ms.append(now_ms()))
    subscriber = register(broker_url, handler, max_retries=0)
    due_at_ms = now_ms() + 1_000
    hop_back(broker_url, due_at_ms)
    with consuming(subscriber):
        handler.wait_for(1)
    assert arrivals_ms[0] >= due_at_ms
    assert len(arrivals_ms) == 1


def test_what_comes_back_late_is_handled_at_once(broker_url: str) -> None:
    handler = Recorder()
    subscriber = register(broker_url, handler)
    hop_back(broker_url, now_ms() - 60_000)
    subscriber.start_consuming(drain=True)
    assert handler.retries == [1]


def test_what_comes_back_days_early_goes_to_the_largest_delay_that_fits(broker_url: str) -> None:
    due_at_ms = now_ms() + DAYS_10_MS
    handler = Recorder()
    subscriber = register(broker_url, handler)
    hop_back(broker_url, due_at_ms)
    with consuming(subscriber):
        queue = delay_queue(EXCHANGE, TIER_BELOW_10_DAYS_MS)
        wait_until(lambda: ready_count(broker_url, queue), PATIENCE_SECONDS)
        copy = take_one(broker_url, queue)
    assert handler.events == []
    assert copy.headers["deb-due-at-ms"] == due_at_ms
    assert copy.headers["deb-retries"] == 1
    assert copy.headers["deb-routing-key"] == "test.hop"
