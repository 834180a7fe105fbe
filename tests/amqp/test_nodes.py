"""Several nodes: they are tried in turn, and a connection that is lost moves on at once."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from domain_event_broker import Subscriber, publish_domain_event
from domain_event_broker.errors import AccessRefused, BrokerUnavailable, UnknownQueue
from domain_event_broker.settings import Settings
from domain_event_broker.transports.amqp import AmqpTransport
from tests.conftest import vhost_of
from tests.support.consuming import consuming
from tests.support.ports import LOOPBACK, free_ports
from tests.support.rabbitmq import RabbitmqNode
from tests.support.waiting import wait_until

from .support import PATIENCE_SECONDS, Recorder

PASSWORD = "s3cr3t"
#: Nobody has the patience for it: what is tried after it, is not tried in time.
LONG_SECONDS = 600.0


@pytest.fixture(autouse=True)
def _in_the_order_of_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance cannot be told which order to draw."""
    monkeypatch.setattr(random, "sample", lambda nodes, count: list(nodes[:count]))


@pytest.fixture
def closed_url(broker_url: str) -> str:
    """That of a node that is down."""
    (port,) = free_ports(1)
    return f"amqp://guest:{PASSWORD}@{LOOPBACK}:{port}/{vhost_of(broker_url)}"


@pytest.fixture
def silent_url(broker_url: str) -> Iterator[str]:
    """That of a node that is frozen: connections are accepted, and nothing answers."""
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        yield f"amqp://guest:{PASSWORD}@{LOOPBACK}:{port}/{vhost_of(broker_url)}"


@pytest.fixture
def other_url(broker_url: str) -> str:
    """Another address of the same node."""
    return broker_url.replace(LOOPBACK, "localhost")


def test_an_event_is_published_on_a_node_that_answers(
    broker_url: str, closed_url: str, silent_url: str
) -> None:
    """Within the time for a publish, though one node takes a part of it."""
    settings = {"URL": [closed_url, silent_url, broker_url], "RECONNECT_DELAY": LONG_SECONDS / 2}
    settings["MAX_RECONNECT_DELAY"] = LONG_SECONDS
    publish_domain_event("nodes.tried", {}, connection_settings=settings)


def test_a_subscriber_and_a_look_at_dead_letters_find_a_node_that_answers(
    broker_url: str, closed_url: str
) -> None:
    urls = [closed_url, broker_url]
    handler = Recorder()
    subscriber = Subscriber({"URL": urls})
    subscriber.register(handler, "nodes", ["nodes.*"])
    with consuming(subscriber):
        publish_domain_event("nodes.tried", {}, connection_settings={"URL": urls})
        handler.wait_for(1)

    transport = AmqpTransport(Settings(url=urls))
    with transport.dead_letters("nodes") as box:
        assert box.count() == 0
    with pytest.raises(UnknownQueue) as caught:
        transport.dead_letters("nobody")
    # It names the node that said so.
    assert Settings(url=broker_url).safe_url in str(caught.value)
    assert Settings(url=closed_url).safe_url not in str(caught.value)


def test_where_no_node_answers_each_is_named(closed_url: str, silent_url: str) -> None:
    settings: dict[str, Any] = {"URL": [closed_url, silent_url], "PUBLISH_TIMEOUT": 3}
    with pytest.raises(BrokerUnavailable) as caught:
        Subscriber(settings).register(Recorder(), "nodes", ["nodes.*"])

    for url in settings["URL"]:
        assert f"No connection to {Settings(url=url).safe_url}" in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_a_refusal_is_final_only_if_all_nodes_refuse(broker_url: str, closed_url: str) -> None:
    refusing = broker_url.replace(":guest@", f":{PASSWORD}@")
    refused_everywhere = Subscriber({"URL": [refusing, refusing]})
    with pytest.raises(AccessRefused):
        refused_everywhere.register(Recorder(), "nodes", ["nodes.*"])
    for urls in ([refusing, closed_url], [closed_url, refusing]):
        with pytest.raises(BrokerUnavailable):
            Subscriber({"URL": urls}).register(Recorder(), "nodes", ["nodes.*"])


def test_a_lost_connection_moves_to_the_next_node_at_once(
    rabbitmq: RabbitmqNode,
    broker_url: str,
    other_url: str,
    closed_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = {
        "URL": [broker_url, closed_url, other_url],
        "RECONNECT_DELAY": LONG_SECONDS / 2,
        "MAX_RECONNECT_DELAY": LONG_SECONDS,
    }
    vhost = vhost_of(broker_url)
    handler = Recorder()
    subscriber = Subscriber(settings)
    subscriber.register(handler, "nodes", ["nodes.*"])
    with consuming(subscriber):
        publish_domain_event("nodes.first", {}, connection_settings=settings)
        handler.wait_for_key("nodes.first")
        wait_until(lambda: len(rabbitmq.connections(vhost)) == 2, PATIENCE_SECONDS)
        rabbitmq.close_connections(vhost)
        again = f"connected to {Settings(url=other_url).safe_url} again"
        wait_until(lambda: f"subscriber: {again}" in caplog.text, PATIENCE_SECONDS)
        publish_domain_event("nodes.second", {}, connection_settings=settings)
        handler.wait_for_key("nodes.second")
    assert f"publisher: {again}" in caplog.text
