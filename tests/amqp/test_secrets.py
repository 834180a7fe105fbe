"""No password and no payload in what is logged, at any level, by us or by pika."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from domain_event_broker import (
    LEAVE,
    DomainEvent,
    Publisher,
    Retry,
    Subscriber,
    publish_domain_event,
    publish_domain_events,
    replay_all,
)
from domain_event_broker.errors import AccessRefused, BrokerUnavailable
from tests.amqp.support import PATIENCE_SECONDS
from tests.support.consuming import consuming
from tests.support.ports import LOOPBACK, free_ports
from tests.support.rabbitmq import RabbitmqNode
from tests.support.raw_amqp import ready_count
from tests.support.waiting import wait_until

#: Begins every password here.
SECRET = "hunter2secret"
PAYLOAD = "jane@example.org"


@pytest.fixture
def url(rabbitmq: RabbitmqNode, broker_vhost: str) -> Iterator[str]:
    """A vhost for a user whose password nobody else has, and which is escaped in the URL."""
    name = f"user-{secrets.token_hex(4)}"
    body = {"password": f"{SECRET}/#%@?&", "tags": ""}
    rabbitmq.management.put("users", name, body=body)
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    rabbitmq.management.put("permissions", broker_vhost, name, body=everything)
    address = f"{LOOPBACK}:{rabbitmq.port}/{broker_vhost}"
    yield f"amqp://{name}:{SECRET}%2F%23%25%40%3F%26@{address}"
    rabbitmq.management.delete("users", name)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Look through what every logger writes during the test, tracebacks included."""
    for name in (None, "pika", "domain_event_broker"):
        caplog.set_level(logging.DEBUG, name)
    yield
    formatter = logging.Formatter("%(name)s %(levelname)s %(message)s")
    lines = [formatter.format(record) for record in caplog.get_records("call")]
    assert any(line.startswith("domain_event_broker") for line in lines)
    assert any(line.startswith("pika") for line in lines)
    assert [line for line in lines if SECRET in line or PAYLOAD in line] == []


def handle(event: DomainEvent) -> None:
    if event.routing_key == "user.fails":
        raise ValueError("cannot handle this")
    if event.routing_key == "user.retries" and not event.retries:
        raise Retry(0)


@pytest.mark.usefixtures("log")
def test_nothing_that_works_is_too_loud(url: str) -> None:
    keys = ["user.left", "user.fails", "user.retries", "nobody.hears"]
    events = [DomainEvent(key, {"email": PAYLOAD}, PAYLOAD) for key in keys]
    subscriber = Subscriber(url)
    subscriber.register(handle, "handler", ["user.*"], max_retries=1)
    with consuming(subscriber):
        publish_domain_events(events, url)
        Publisher(url).publish(f'{{"broken": "{PAYLOAD}', "user.left")
        publish_domain_event("user.left", {}, connection_settings=url)
        wait_until(lambda: ready_count(url, "handler-dl") == 2, PATIENCE_SECONDS)
    replay_all("handler", lambda **kwargs: LEAVE, url)
    replay_all("handler", connection_settings=url)


@pytest.mark.usefixtures("log")
def test_a_lost_connection_is_not_too_loud(
    url: str, rabbitmq: RabbitmqNode, broker_vhost: str
) -> None:
    handled: list[DomainEvent] = []
    settings = {"URL": url, "RECONNECT_DELAY": 0.1}
    subscriber = Subscriber(settings)
    subscriber.register(handled.append, "handler", ["user.*"])
    with consuming(subscriber):
        for number in range(3):
            publish_domain_event("user.left", {"email": PAYLOAD}, connection_settings=settings)
            wait_until(lambda number=number: len(handled) > number)  # type: ignore[misc]
            wait_until(lambda: rabbitmq.close_connections(broker_vhost) == 2)


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize("is_subscriber", [True, False])
def test_a_refusal_is_not_too_loud(url: str, is_subscriber: bool) -> None:
    wrong = url.replace(SECRET, f"{SECRET}wrong")
    with pytest.raises(AccessRefused):
        use(wrong, is_subscriber)


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize("is_subscriber", [True, False])
def test_a_broker_that_is_away_is_not_too_loud(is_subscriber: bool) -> None:
    away = f"amqp://user:{SECRET}@{LOOPBACK}:{free_ports(1)[0]}/"
    with pytest.raises(BrokerUnavailable):
        use({"URL": away, "PUBLISH_TIMEOUT": 0.3}, is_subscriber)


def use(settings: Any, is_subscriber: bool) -> None:
    if is_subscriber:
        Subscriber(settings).register(handle, "handler", ["user.*"])
    else:
        publish_domain_event("user.left", {"email": PAYLOAD}, connection_settings=settings)


def test_pika_says_nothing_by_itself(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its warning of a returned message would show the message, its errors would say all twice."""
    publish_domain_event("nobody.hears", {"email": PAYLOAD}, connection_settings=url)
    with pytest.raises(AccessRefused):
        use(url.replace(SECRET, f"{SECRET}wrong"), is_subscriber=False)
    assert [record.name for record in caplog.records if record.name.startswith("pika")] == []
