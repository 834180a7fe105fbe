"""Settings and options that change what is declared."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from domain_event_broker import DomainEvent, Retry, Subscriber, publish_domain_event
from domain_event_broker.settings import EXCHANGE_TYPES
from tests.amqp.support import Recorder, wait_for_dead_letter, wait_until_empty
from tests.support.consuming import consuming
from tests.support.rabbitmq import RabbitmqNode


def retry_then_fail(event: DomainEvent) -> None:
    raise Retry(0.1)


def check_retries_and_dead_letters(settings: dict[str, object], key: str = "test.event") -> None:
    url = str(settings["URL"])
    handler = Recorder(retry_then_fail)
    subscriber = Subscriber(settings)
    subscriber.register(handler, "handler", [key], max_retries=2)
    publish_domain_event(key, {}, connection_settings=settings)
    with consuming(subscriber):
        dead_letter = wait_for_dead_letter(url, "handler")
    assert handler.retries == [0, 1, 2]
    assert dead_letter.reason == "retries-exhausted"


def test_classic_queues(broker_url: str, broker_vhost: str, rabbitmq: RabbitmqNode) -> None:
    check_retries_and_dead_letters({"URL": broker_url, "QUEUE_TYPE": "classic"})
    for name in ("handler", "handler-dl"):
        row = rabbitmq.declared_queue(broker_vhost, name)
        assert row["arguments"] == {"x-queue-type": "classic"}
        assert row["durable"]


@pytest.mark.parametrize("exchange_type", EXCHANGE_TYPES)
def test_another_exchange_of_each_type(
    broker_url: str, broker_vhost: str, rabbitmq: RabbitmqNode, exchange_type: str
) -> None:
    settings: dict[str, object] = {
        "URL": broker_url,
        "EXCHANGE": "other",
        "EXCHANGE_TYPE": exchange_type,
        "UNROUTABLE": "raise",
    }
    check_retries_and_dead_letters(settings)
    types = {row["name"]: row["type"] for row in rabbitmq.exchanges(broker_vhost)}
    assert types["other"] == exchange_type
    assert {"other-requeue", "other-orphans", "other-delay.v1"} <= types.keys()
    assert not [name for name in types if name.startswith("domain-events")]


def test_two_exchanges_on_one_broker_do_not_meet(broker_url: str) -> None:
    one, other = Recorder(), Recorder()
    first, second = Subscriber(broker_url), Subscriber(broker_url, exchange="other")
    first.register(one, "one", ["#"])
    second.register(other, "other", ["#"])
    publish_domain_event("test.one", {}, connection_settings=broker_url)
    publish_domain_event(
        "test.other", {}, connection_settings={"URL": broker_url, "EXCHANGE": "other"}
    )
    first.start_consuming(drain=True)
    second.start_consuming(drain=True)
    assert one.keys == ["test.one"]
    assert other.keys == ["test.other"]


def test_a_queue_that_does_not_outlive_the_broker_is_declared_with_a_warning(
    broker_url: str, broker_vhost: str, rabbitmq: RabbitmqNode, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Recorder()
    subscriber = Subscriber(broker_url)
    with caplog.at_level(logging.WARNING, "domain_event_broker"):
        subscriber.register(handler, "transient", ["#"], durable=False)
    assert "transient" in caplog.text
    assert "restart" in caplog.text
    row = rabbitmq.declared_queue(broker_vhost, "transient")
    assert row["type"] == "classic"
    assert (row["durable"], row["auto_delete"], row["exclusive"]) == (False, False, False)
    publish_domain_event("test.event", {}, connection_settings=broker_url)
    subscriber.start_consuming(drain=True)
    assert handler.keys == ["test.event"]


@pytest.mark.parametrize("options", [{}, {"exclusive": True}, {"auto_delete": True}])
def test_a_failed_event_without_dead_letters_is_dropped_and_logged(
    broker_url: str,
    broker_vhost: str,
    rabbitmq: RabbitmqNode,
    caplog: pytest.LogCaptureFixture,
    options: dict[str, Any],
) -> None:
    def fail(event: DomainEvent) -> None:
        if event.routing_key == "test.bad":
            raise ValueError("no good")

    handler = Recorder(fail)
    subscriber = Subscriber(broker_url)
    dead_letter = None if options else False
    subscriber.register(handler, "dropping", ["#"], dead_letter, **options)
    for key in ("test.bad", "test.good"):
        publish_domain_event(key, {}, connection_settings=broker_url)
    with consuming(subscriber):
        handler.wait_for(2)
    assert handler.keys == ["test.bad", "test.good"]
    assert "('test.bad') was discarded: error" in caplog.text
    assert rabbitmq.queue(broker_vhost, "dropping-dl") is None
    if not options:
        wait_until_empty(broker_url, "dropping")
