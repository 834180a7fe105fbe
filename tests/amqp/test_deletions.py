"""What is deleted under a subscriber or a publisher, beside the faults of ``tests/faults``."""

from __future__ import annotations

import pytest

from domain_event_broker import Subscriber, publish_domain_event
from domain_event_broker.errors import AccessRefused
from tests.amqp.accounts import NOTHING, Account, allow
from tests.amqp.refusals import errors_told
from tests.amqp.support import PATIENCE_SECONDS, Recorder
from tests.support.consuming import consuming
from tests.support.rabbitmq import RabbitmqNode
from tests.support.waiting import wait_until


def test_a_queue_that_goes_with_its_subscriber_is_told_of_too(
    rabbitmq: RabbitmqNode,
    broker_url: str,
    broker_vhost: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    handler = Recorder()
    subscriber = Subscriber(broker_url)
    subscriber.register(handler, "handler", ["#"], auto_delete=True)
    with consuming(subscriber):
        wait_until(lambda: is_consumed(rabbitmq, broker_vhost), PATIENCE_SECONDS)
        rabbitmq.management.delete("queues", broker_vhost, "handler")
        wait_until(lambda: errors_told(caplog, "the queue was deleted"), PATIENCE_SECONDS)
        wait_until(lambda: is_consumed(rabbitmq, broker_vhost), PATIENCE_SECONDS)
        publish_domain_event("test.event", {}, connection_settings=broker_url)
        handler.wait_for(1)


def is_consumed(node: RabbitmqNode, vhost: str) -> bool:
    queue = node.queue(vhost, "handler")
    return queue is not None and queue.get("consumers") == 1


def test_an_exchange_that_others_declare_is_missed_by_name(
    rabbitmq: RabbitmqNode, account: Account, broker_url: str, broker_vhost: str
) -> None:
    publish_domain_event("test.event", {}, connection_settings=broker_url)
    allow(rabbitmq, account, broker_vhost, configure=NOTHING)
    url = account.url(rabbitmq, broker_vhost)
    publish_domain_event("test.event", {}, connection_settings=url)
    rabbitmq.management.delete("exchanges", broker_vhost, "domain-events")
    with pytest.raises(AccessRefused, match=r"declare_queues.*no exchange 'domain-events'"):
        publish_domain_event("test.event", {}, connection_settings=url)
