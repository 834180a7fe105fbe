"""Brokers that are not there, do not answer, or know us and refuse."""

from __future__ import annotations

import socket

import pytest

from domain_event_broker import (
    DomainEvent,
    Outcome,
    Publisher,
    publish_domain_event,
    publish_domain_events,
)
from domain_event_broker.errors import (
    AccessRefused,
    BrokerUnavailable,
    TopologyMismatch,
    TransportError,
)
from tests.amqp.accounts import Account, allow, times_logged
from tests.amqp.support import PATIENCE_SECONDS
from tests.support.ports import LOOPBACK, free_ports
from tests.support.rabbitmq import RabbitmqNode
from tests.support.raw_amqp import raw_channel
from tests.support.waiting import wait_until


def publish(url: str) -> None:
    """A refusal that were tried again until the deadline would end as another error."""
    settings = {"URL": url, "PUBLISH_TIMEOUT": PATIENCE_SECONDS}
    publish_domain_event("user.left", {}, connection_settings=settings)


def test_a_wrong_password_is_refused_once(
    rabbitmq: RabbitmqNode, account: Account, broker_vhost: str
) -> None:
    with pytest.raises(AccessRefused, match="refused the user name or password"):
        publish(account.url(rabbitmq, broker_vhost, password="wrong"))
    wait_until(lambda: times_logged(rabbitmq, "refused", account.name))
    assert times_logged(rabbitmq, "refused", account.name) == 1


def test_an_unknown_user_is_refused(rabbitmq: RabbitmqNode, broker_vhost: str) -> None:
    with pytest.raises(AccessRefused, match="refused the user name or password"):
        publish(Account("nobody", "wrong").url(rabbitmq, broker_vhost))


def test_an_unknown_virtual_host_is_refused(rabbitmq: RabbitmqNode, account: Account) -> None:
    with pytest.raises(AccessRefused, match="refused the virtual host"):
        publish(account.url(rabbitmq, "nowhere"))


def test_a_virtual_host_of_others_is_refused(
    rabbitmq: RabbitmqNode, account: Account, broker_vhost: str
) -> None:
    with pytest.raises(AccessRefused, match="refused the virtual host"):
        publish(account.url(rabbitmq, broker_vhost))


@pytest.mark.parametrize("permission", ["configure", "write"])
def test_a_missing_permission_is_refused_and_may_be_given_later(
    rabbitmq: RabbitmqNode, account: Account, broker_vhost: str, permission: str
) -> None:
    allow(rabbitmq, account, broker_vhost, **{permission: "^$"})
    url = account.url(rabbitmq, broker_vhost)
    with pytest.raises(AccessRefused, match="refused a permission"):
        publish(url)
    allow(rabbitmq, account, broker_vhost)
    # Publishing connects anew where permissions are cached with the connection.
    rabbitmq.close_connections(broker_vhost)
    publish(url)


def test_another_kind_of_exchange_is_a_mismatch(
    rabbitmq: RabbitmqNode, broker_url: str, broker_vhost: str
) -> None:
    with raw_channel(broker_url) as channel:
        channel.exchange_declare("domain-events", exchange_type="fanout", durable=True)
    with pytest.raises(TopologyMismatch, match="domain-events"):
        publish(broker_url)
    with pytest.raises(TopologyMismatch, match="domain-events"):
        Publisher(broker_url).publish(b"{}", "user.left")
    (row,) = [r for r in rabbitmq.exchanges(broker_vhost) if r["name"] == "domain-events"]
    assert row["type"] == "fanout"  # it is not ours to change
    rabbitmq.management.delete("exchanges", broker_vhost, "domain-events")
    publish(broker_url)


@pytest.fixture
def unused_url() -> str:
    return f"amqp://guest:guest@{LOOPBACK}:{free_ports(1)[0]}/"


def test_no_broker_is_unavailable(unused_url: str) -> None:
    settings = {"URL": unused_url, "PUBLISH_TIMEOUT": 1.5}
    with pytest.raises(BrokerUnavailable, match=r"No connection to amqp://127\.0\.0\.1"):
        publish_domain_event("user.left", {}, connection_settings=settings)
    results = publish_domain_events([DomainEvent("user.left")] * 3, settings)
    assert [result.outcome for result in results] == [Outcome.UNKNOWN] * 3
    assert {type(result.error) for result in results} == {BrokerUnavailable}


def test_a_host_that_does_not_exist_is_unavailable() -> None:
    settings = {"URL": "amqp://guest:guest@nowhere.invalid/", "PUBLISH_TIMEOUT": 0.3}
    with pytest.raises(TransportError):
        publish_domain_event("user.left", {}, connection_settings=settings)


def test_a_broker_that_never_answers_is_given_up() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        settings = {"URL": f"amqp://guest:guest@{LOOPBACK}:{port}/", "PUBLISH_TIMEOUT": 0.3}
        with pytest.raises(TransportError):
            publish_domain_event("user.left", {}, connection_settings=settings)
