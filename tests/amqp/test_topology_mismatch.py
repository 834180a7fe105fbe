"""What exists with other arguments stays as it is, and the error names what differs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pika.adapters.blocking_connection import BlockingChannel

from domain_event_broker import Subscriber, publish_domain_event
from domain_event_broker.errors import TopologyMismatch
from tests.amqp.support import Recorder, send_raw
from tests.support.consuming import consuming
from tests.support.rabbitmq import RabbitmqNode
from tests.support.raw_amqp import raw_channel, ready_count

Declare = Callable[[BlockingChannel], object]


def queue(name: str, **arguments: Any) -> Declare:
    named = {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}
    return lambda channel: channel.queue_declare(name, durable=True, arguments=named)


def transient_queue(name: str) -> Declare:
    return lambda channel: channel.queue_declare(name)


def exchange(name: str, kind: str, durable: bool = True) -> Declare:
    return lambda channel: channel.exchange_declare(name, exchange_type=kind, durable=durable)


ROUTE = {"dead_letter_exchange": "", "dead_letter_routing_key": "handler-dl"}
DELAY = {
    "queue_type": "quorum",
    "dead_letter_exchange": "domain-events-requeue",
    "dead_letter_strategy": "at-least-once",
    "overflow": "reject-publish",
}

#: What was declared before -> what the error names, which is the first that the broker finds.
MISMATCHES: dict[str, tuple[Declare, str]] = {
    "classic": (queue("handler", queue_type="classic", **ROUTE), "x-queue-type"),
    "limit": (queue("handler", queue_type="quorum", delivery_limit=5, **ROUTE), "x-delivery-limit"),
    "route": (queue("handler", queue_type="quorum", delivery_limit=1_000), "x-dead-letter-.*"),
    "transient": (transient_queue("handler"), "durable"),
    "3.x": (queue("handler", dead_letter_exchange="handler-dlx"), "x-dead-letter-exchange"),
    "dead letters": (queue("handler-dl", queue_type="classic"), "x-queue-type"),
    "delay": (queue("domain-events-delay.v1.100ms", message_ttl=5, **DELAY), "x-message-ttl"),
    "exchange type": (exchange("domain-events", "direct"), "type"),
    "exchange durable": (exchange("domain-events", "topic", durable=False), "durable"),
    "requeue": (exchange("domain-events-requeue", "topic"), "type"),
}


@pytest.mark.parametrize("what", MISMATCHES)
def test_the_error_names_what_differs_and_nothing_is_changed(
    broker_url: str, broker_vhost: str, rabbitmq: RabbitmqNode, what: str
) -> None:
    declare, named = MISMATCHES[what]
    with raw_channel(broker_url) as channel:
        declare(channel)
    before = everything(rabbitmq, broker_vhost)
    subscriber = Subscriber(broker_url)
    with pytest.raises(TopologyMismatch, match=f"inequivalent arg '{named}'") as raised:
        subscriber.register(Recorder(), "handler", ["#"], max_retries=1)
    assert "It is never changed or deleted from here" in str(raised.value)
    subscriber.disconnect()
    after = everything(rabbitmq, broker_vhost)
    assert before.items() <= after.items()


def everything(rabbitmq: RabbitmqNode, vhost: str) -> dict[tuple[str, str], Any]:
    keys = ("durable", "auto_delete", "arguments")
    rows = [("queue", row) for row in rabbitmq.queues(vhost)]
    rows += [("exchange", row) for row in rabbitmq.exchanges(vhost)]
    return {
        (kind, row["name"]): [row[key] for key in keys] + [row.get("exclusive"), row["type"]]
        for kind, row in rows
    }


def test_a_queue_of_another_kind_keeps_its_events(broker_url: str) -> None:
    with raw_channel(broker_url) as channel:
        channel.exchange_declare("domain-events", exchange_type="topic", durable=True)
        channel.queue_declare("handler", durable=True)
        channel.queue_bind("handler", "domain-events", "#")
    send_raw(broker_url, "test.event")
    with pytest.raises(TopologyMismatch):
        Subscriber(broker_url).register(Recorder(), "handler", ["#"])
    assert ready_count(broker_url, "handler") == 1


def test_another_handler_can_be_registered_after_one_that_could_not(broker_url: str) -> None:
    with raw_channel(broker_url) as channel:
        channel.queue_declare("taken", durable=True)
    handler = Recorder()
    subscriber = Subscriber(broker_url)
    subscriber.register(handler, "first", ["#"])
    with pytest.raises(TopologyMismatch):
        subscriber.register(Recorder(), "taken", ["#"])
    subscriber.register(handler, "second", ["#"])
    publish_domain_event("test.event", {}, connection_settings=broker_url)
    with consuming(subscriber):
        handler.wait_for(2)
    assert handler.keys == ["test.event"] * 2


def test_a_queue_that_another_holds_exclusively_is_refused(broker_url: str) -> None:
    holder = Subscriber(broker_url)
    holder.register(Recorder(), "own", ["#"], exclusive=True)
    with pytest.raises(TopologyMismatch, match="held by another connection exclusively"):
        Subscriber(broker_url).register(Recorder(), "own", ["#"], exclusive=True)
    holder.disconnect()
