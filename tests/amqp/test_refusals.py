"""A channel that refuses events is left for another one, and nobody notices."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from domain_event_broker import publish_domain_event
from domain_event_broker.errors import PublishRefused
from domain_event_broker.transports.amqp import refusals
from tests.amqp.support import PATIENCE_SECONDS
from tests.support.rabbitmq import RabbitmqNode
from tests.support.raw_amqp import bind_queue, raw_channel, ready_count, take_one
from tests.support.waiting import wait_until

LEFT = "The channel refuses events; the next one may not."
FULL = {"x-max-length": 1, "x-overflow": "reject-publish"}


@pytest.fixture
def url(broker_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A broker with a full queue for orders; each refusal costs a channel."""
    monkeypatch.setattr(refusals, "_BASE_SECONDS", 0.0)
    bind_queue(broker_url, "seen", "user.#")
    with raw_channel(broker_url) as channel:
        channel.queue_declare("full", durable=True, arguments=FULL)
        channel.queue_bind("full", "domain-events", routing_key="order.*")
    publish(broker_url, "order.placed")
    return broker_url


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


def publish(url: str, routing_key: str, timeout_seconds: float = PATIENCE_SECONDS) -> None:
    settings = {"URL": url, "PUBLISH_TIMEOUT": timeout_seconds}
    publish_domain_event(routing_key, {}, connection_settings=settings)


def test_what_is_refused_goes_out_by_a_later_channel(
    url: str,
    rabbitmq: RabbitmqNode,
    broker_vhost: str,
    threads: ThreadPoolExecutor,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    refused: Future[None] = threads.submit(publish, url, "order.placed")
    wait_until(lambda: caplog.messages.count(LEFT) > 2)
    assert not refused.done()
    take_one(url, "full")

    refused.result(PATIENCE_SECONDS)
    assert ready_count(url, "full") == 1
    wait_until(lambda: channels(rabbitmq, broker_vhost) == 1)


def channels(rabbitmq: RabbitmqNode, vhost: str) -> float:
    """How many there are; not a number while the broker has no figures of one just opened."""
    return sum(float(row.get("channels", math.nan)) for row in rabbitmq.connections(vhost))


def test_what_nobody_refuses_goes_out_meanwhile(url: str, threads: ThreadPoolExecutor) -> None:
    refused = threads.submit(publish, url, "order.placed")
    for _ in range(100):
        publish(url, "user.left")
    assert not refused.done()
    take_one(url, "full")
    refused.result(PATIENCE_SECONDS)

    assert ready_count(url, "seen") == 100


def test_a_queue_that_stays_full_is_told(url: str) -> None:
    with pytest.raises(PublishRefused):
        publish(url, "order.placed", timeout_seconds=1.0)
    publish(url, "user.left")
