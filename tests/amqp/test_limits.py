"""Limits of connections, channels and queues: told in a clear sentence, and waited for."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest

from domain_event_broker import Subscriber, publish_domain_event
from domain_event_broker.errors import BrokerUnavailable, LimitReached
from domain_event_broker.transports import close_all
from tests.amqp.accounts import Account, allow
from tests.amqp.refusals import QUICK, cut_off, errors_told, see_patience
from tests.amqp.support import PATIENCE_SECONDS, Recorder, wait_for_subscribers
from tests.conftest import PrivateRabbitmq, vhost_of
from tests.support.consuming import consuming
from tests.support.rabbitmq import RabbitmqNode
from tests.support.waiting import wait_until

#: Of the attempts of one publish, which a limit ends as anything else that may pass.
BRIEF = {"PUBLISH_TIMEOUT": 0.5}


@pytest.fixture
def url(rabbitmq: RabbitmqNode, account: Account, broker_vhost: str) -> str:
    """Of a user of whom no other test takes the connections."""
    allow(rabbitmq, account, broker_vhost)
    return account.url(rabbitmq, broker_vhost)


@pytest.fixture
def limit(rabbitmq: RabbitmqNode, account: Account, broker_vhost: str) -> Iterator[Limits]:
    limits = Limits(rabbitmq, {"user-limits": account.name, "vhost-limits": broker_vhost})
    yield limits
    limits.lift()


def told_publisher(url: str) -> str:
    """What a publish is told of the limit; its last attempt may have been cut short."""

    def told() -> str:
        try:
            publish_domain_event("test.event", {}, connection_settings={"URL": url, **BRIEF})
        except LimitReached as error:
            return str(error)
        except BrokerUnavailable:
            return ""
        raise AssertionError("It was published.")

    return wait_until(told, PATIENCE_SECONDS)


class Limits:
    """Set for a test, and lifted after it."""

    def __init__(self, node: RabbitmqNode, names: dict[str, str]) -> None:
        self._node = node
        self._names = names
        self._set: set[tuple[str, str, str]] = set()

    def set(self, kind: str, name: str, value: int) -> None:
        path = kind, self._names[kind], name
        self._node.management.put(*path, body={"value": value})
        self._set.add(path)

    def lift(self) -> None:
        for path in self._set:
            self._node.management.delete(*path)
        self._set.clear()


@pytest.mark.parametrize("kind", ["user-limits", "vhost-limits"])
def test_no_connection_is_left(url: str, limit: Limits, kind: str) -> None:
    limit.set(kind, "max-connections", 0)
    assert re.search(r"no more connections.*limit \(0\) is reached", told_publisher(url))
    with pytest.raises(LimitReached, match="allows no more connections"):
        Subscriber(url).register(print, "handler", ["#"])
    limit.lift()
    publish_domain_event("test.event", {}, connection_settings=url)


def test_a_publish_waits_for_a_connection(url: str, limit: Limits) -> None:
    limit.set("user-limits", "max-connections", 1)
    holder = Subscriber(url)
    holder.register(print, "handler", ["#"])
    assert "allows no more connections" in told_publisher(url)
    holder.disconnect()
    patient = {"URL": url, "PUBLISH_TIMEOUT": PATIENCE_SECONDS}
    publish_domain_event("test.event", {}, connection_settings=patient)


@pytest.mark.parametrize("kind", ["user-limits", "vhost-limits"])
def test_a_subscriber_waits_for_a_connection(
    rabbitmq: RabbitmqNode,
    broker_vhost: str,
    url: str,
    limit: Limits,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    caplog.set_level(logging.INFO, "domain_event_broker")
    handler = Recorder()
    subscriber = Subscriber({"URL": url, **QUICK})
    subscriber.register(handler, "handler", ["#"])
    with consuming(subscriber):
        wait_for_subscribers(rabbitmq, broker_vhost)
        limit.set(kind, "max-connections", 0)
        rabbitmq.close_connections(broker_vhost)
        see_patience(caplog, attempts=6, words="connecting to")
        limit.lift()
        publish_domain_event("test.event", {}, connection_settings=url)
        handler.wait_for(1)
    assert warnings_told(caplog, "allows no more connections") == 1
    assert not errors_told(caplog, "")


def test_no_channel_of_a_user_is_left(
    rabbitmq: RabbitmqNode,
    broker_vhost: str,
    url: str,
    limit: Limits,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The broker ends the connection then; it must not be opened again at once, for ever."""
    caplog.set_level(logging.INFO, "domain_event_broker")
    handler = Recorder()
    subscriber = Subscriber({"URL": url, **QUICK})
    subscriber.register(handler, "first", ["#"])
    subscriber.register(handler, "second", ["#"])
    with consuming(subscriber):
        wait_for_subscribers(rabbitmq, broker_vhost)
        # Not 1: two that are opened at the same moment may pass.
        limit.set("user-limits", "max-channels", 0)
        rabbitmq.close_connections(broker_vhost)
        see_patience(caplog, attempts=6, words="connecting to")
        limit.lift()
        publish_domain_event("test.event", {}, connection_settings=url)
        handler.wait_for(2)
    assert "reached the maximum allowed user limit" in caplog.text


def test_no_queue_is_left(url: str, limit: Limits) -> None:
    limit.set("vhost-limits", "max-queues", 0)
    subscriber = Subscriber(url)
    with pytest.raises(LimitReached, match="allows no more queues"):
        subscriber.register(print, "handler", ["#"])
    limit.lift()
    subscriber.register(print, "handler", ["#"])
    subscriber.disconnect()


def test_the_limits_of_a_node(
    private_rabbitmq: PrivateRabbitmq, caplog: pytest.LogCaptureFixture
) -> None:
    node = private_rabbitmq(config={"channel_max": "2"})
    url = node.new_vhost()
    handler = Recorder()
    subscriber = Subscriber({"URL": url, **QUICK})
    subscriber.register(handler, "first", ["#"])
    subscriber.register(handler, "second", ["#"])
    with pytest.raises(LimitReached, match=r"no more channels on one connection \(channel_max\)"):
        subscriber.register(handler, "third", ["#"])
    with consuming(subscriber):
        publish_domain_event("test.event", {}, connection_settings=url)
        handler.wait_for(2)

        # Fewer than are wanted once it connects again.
        set_node_limit(node, "channel_max", "1")
        caplog.clear()
        cut_off(node, vhost_of(url))
        see_patience(caplog, attempts=5, words="no more channels")
        set_node_limit(node, "channel_max", "2")
        cut_off(node, vhost_of(url))
        publish_domain_event("test.event", {}, connection_settings=url)
        wait_until(lambda: len(handler.events) >= 4, PATIENCE_SECONDS)
    close_all()
    if node.release != "3.10":  # which has no such limit
        set_node_limit(node, "connection_max", "0")
        assert "node connection limit" in told_publisher(url)


def set_node_limit(node: RabbitmqNode, name: str, value: str) -> None:
    node.rabbitmqctl("eval", f"application:set_env(rabbit, {name}, {value}).")


def warnings_told(caplog: pytest.LogCaptureFixture, words: str) -> int:
    records = [record for record in caplog.records if record.levelno == logging.WARNING]
    return sum(words in record.getMessage() for record in records)
