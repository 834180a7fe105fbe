"""Publishing as in 3.x: what is accepted, and what stands on the wire."""

from __future__ import annotations

import json

import pytest

import domain_event_broker.settings as settings_module
from domain_event_broker import Publisher, publish_domain_event
from domain_event_broker.errors import TransportClosed
from tests.support.rabbitmq import RabbitmqNode
from tests.support.raw_amqp import bind_queue, take_all, take_one
from tests.support.waiting import wait_until

PERSISTENT = 2
NOBODY_LISTENS = "amqp://guest:guest@127.0.0.1:1/"
KEYS = ["routing_key", "data", "domain_object_id", "uuid_string", "timestamp"]


@pytest.fixture
def seen(default_broker: str) -> str:
    """A queue that gets every event, of which our code knows nothing."""
    bind_queue(default_broker, "seen", "#")
    return "seen"


def test_the_message_is_that_of_3x(default_broker: str, seen: str) -> None:
    event = publish_domain_event("user.registered", {"user_id": 1}, "42", "an-id", 1795236128.076)
    message = take_one(default_broker, seen)
    assert (message.exchange, message.routing_key) == ("domain-events", "user.registered")
    assert message.properties.delivery_mode == PERSISTENT
    assert message.body == json.dumps(event.event_data).encode()
    assert list(json.loads(message.body)) == KEYS


def test_properties_repeat_what_the_body_says(default_broker: str, seen: str) -> None:
    publish_domain_event("user.registered", {}, "42", "an-id", 1795236128.076)
    message = take_one(default_broker, seen)
    assert message.properties.message_id == "an-id"
    assert message.properties.timestamp == 1795236128
    assert message.properties.content_type == "application/json"
    assert not [name for name in message.headers if name.startswith("x-")]


def test_no_connection_settings_means_the_default_broker(default_broker: str, seen: str) -> None:
    publish_domain_event("user.registered", {"n": 1})
    publish_domain_event("user.registered", {"n": 2}, connection_settings="")
    publish_domain_event("user.registered", {"n": 3}, None, None, None, "")
    for number, publisher in enumerate(
        [Publisher(), Publisher(""), Publisher(exchange_type="topic")]
    ):
        publisher.publish(json.dumps({"data": {"n": 4 + number}}), "user.registered")
    numbers = [json.loads(m.body)["data"]["n"] for m in take_all(default_broker, seen)]
    assert numbers == [1, 2, 3, 4, 5, 6]


def test_a_url_is_used_instead_of_the_default(broker_url: str) -> None:
    bind_queue(broker_url, "seen", "#")
    settings_module.BROKER = NOBODY_LISTENS
    publish_domain_event("user.registered", {}, connection_settings=broker_url)
    Publisher(broker_url).publish(b"{}", "user.registered")
    assert len(take_all(broker_url, "seen")) == 2


@pytest.mark.parametrize("default", [NOBODY_LISTENS, None])
def test_none_sends_nothing_and_returns_the_event(default: str | None) -> None:
    settings_module.BROKER = default
    event = publish_domain_event("user.registered", {"n": 1}, connection_settings=None)
    assert (event.routing_key, event.data) == ("user.registered", {"n": 1})
    publisher = Publisher(None)
    publisher.publish(b"{}", "user.registered")
    publisher.disconnect()


def test_a_default_of_none_sends_nothing() -> None:
    settings_module.BROKER = None
    assert publish_domain_event("user.registered", {"n": 1}).data == {"n": 1}
    Publisher().publish(b"{}", "user.registered")


@pytest.mark.parametrize("body", [b"iamnotvalidjson[]", "iamnotvalidjson[]", b"\xff\x00"])
def test_a_publisher_sends_any_body_as_it_is(default_broker: str, seen: str, body: bytes) -> None:
    publisher = Publisher()
    publisher.publish(body, "foo")
    publisher.disconnect()
    message = take_one(default_broker, seen)
    assert message.body == (body.encode() if isinstance(body, str) else body)
    assert message.routing_key == "foo"
    assert message.properties.delivery_mode == PERSISTENT


def test_a_publisher_takes_the_routing_key_of_the_body(default_broker: str, seen: str) -> None:
    Publisher().publish(b'{"routing_key": "user.registered"}')
    assert take_one(default_broker, seen).routing_key == "user.registered"


def test_a_publisher_may_use_an_exchange_of_its_own(broker_url: str) -> None:
    bind_queue(broker_url, "seen", "x.*", exchange="test_exchange")
    Publisher(broker_url, "test_exchange").publish("first", "x.y")
    Publisher(broker_url, exchange="test_exchange", exchange_type="topic").publish("second", "x.y")
    assert [m.body for m in take_all(broker_url, "seen")] == [b"first", b"second"]


def test_a_disconnected_publisher_may_connect_again(default_broker: str, seen: str) -> None:
    publisher = Publisher()
    publisher.disconnect()
    publisher.disconnect()
    with pytest.raises(TransportClosed):
        publisher.publish(b"{}", "foo")
    publisher.connect()
    publisher.publish(b"{}", "foo")
    assert take_one(default_broker, seen).body == b"{}"


@pytest.mark.parametrize("exchange_type", ["topic", "direct", "fanout"])
def test_the_exchange_is_declared_durable(
    rabbitmq: RabbitmqNode, broker_url: str, broker_vhost: str, exchange_type: str
) -> None:
    Publisher(broker_url, "facts", exchange_type).publish(b"{}", "a.b")
    (row,) = [row for row in rabbitmq.exchanges(broker_vhost) if row["name"] == "facts"]
    assert (row["type"], row["durable"], row["auto_delete"]) == (exchange_type, True, False)
    assert row["arguments"] == {}


def test_parameters_in_the_url_count(
    rabbitmq: RabbitmqNode, broker_url: str, broker_vhost: str
) -> None:
    publish_domain_event("a.b", {}, connection_settings=f"{broker_url}?heartbeat=7")
    (row,) = wait_until(lambda: rabbitmq.connections(broker_vhost))
    wait_until(lambda: heartbeats(rabbitmq, broker_vhost) == [7])
    assert row["vhost"] == broker_vhost


def heartbeats(rabbitmq: RabbitmqNode, vhost: str) -> list[int]:
    return [row.get("timeout", 0) for row in rabbitmq.connections(vhost)]
