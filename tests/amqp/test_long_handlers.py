"""Handlers that take longer than the connection may be silent."""

from __future__ import annotations

import threading

import pytest

from domain_event_broker import DomainEvent, Retry, Subscriber, publish_domain_event
from tests.amqp.support import (
    Recorder,
    transport_warnings,
    wait_for_dead_letter,
    wait_for_subscribers,
    wait_until_empty,
)
from tests.support.consuming import consuming
from tests.support.rabbitmq import RabbitmqNode
from tests.support.raw_amqp import ready_count

# Three times the heartbeat: RabbitMQ gives up a client that is silent for two.
LONG_SECONDS = 3.0


def take_long(event: DomainEvent) -> None:
    threading.Event().wait(LONG_SECONDS)


def test_a_handler_of_three_seconds_under_a_heartbeat_of_one_is_acknowledged_once(
    broker_url: str, broker_vhost: str, rabbitmq: RabbitmqNode, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Recorder(take_long)
    subscriber = Subscriber(f"{broker_url}?heartbeat=1")
    subscriber.register(handler, "slow", ["test.*"])
    assert heartbeats(rabbitmq, broker_vhost) == [1]
    published = publish_domain_event("test.slow", {}, connection_settings=broker_url)
    with consuming(subscriber):
        before = wait_for_subscribers(rabbitmq, broker_vhost)
        handler.wait_for(1)
    # Stopping waited for the handler, and for its acknowledgement.
    assert ready_count(broker_url, "slow") == 0
    subscriber.start_consuming(drain=True)
    assert handler.events == [published]
    assert len(before) == 1
    assert not transport_warnings(caplog)


def heartbeats(rabbitmq: RabbitmqNode, vhost: str) -> list[int]:
    wait_for_subscribers(rabbitmq, vhost)
    return [row["timeout"] for row in rabbitmq.connections(vhost)]


@pytest.mark.parametrize("ending", ["retry", "fail"])
def test_its_retry_or_dead_letter_goes_out_on_the_same_connections(
    broker_url: str,
    broker_vhost: str,
    rabbitmq: RabbitmqNode,
    caplog: pytest.LogCaptureFixture,
    ending: str,
) -> None:
    def take_long_then_end(event: DomainEvent) -> None:
        if not event.retries:
            take_long(event)
        if ending == "retry":
            raise Retry(0.1)
        raise ValueError("too long")

    handler = Recorder(take_long_then_end)
    subscriber = Subscriber(f"{broker_url}?heartbeat=1")
    subscriber.register(handler, "slow", ["test.*"], max_retries=1)
    publish_domain_event("test.slow", {}, connection_settings=f"{broker_url}?heartbeat=1")
    with consuming(subscriber):
        before = wait_for_subscribers(rabbitmq, broker_vhost)
        wait_for_dead_letter(broker_url, "slow")
        assert wait_for_subscribers(rabbitmq, broker_vhost) == before
    assert handler.retries == ([0, 1] if ending == "retry" else [0])
    wait_until_empty(broker_url, "slow")
    assert not transport_warnings(caplog)
