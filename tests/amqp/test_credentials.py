"""Credentials and virtual hosts that are wrong from the start, or become so under a subscriber."""

from __future__ import annotations

import logging

import pytest

from domain_event_broker import Subscriber, publish_domain_event
from domain_event_broker.errors import AccessRefused
from tests.amqp.accounts import Account, allow, times_logged
from tests.amqp.refusals import QUICK, cut_off, errors_told, see_patience, told
from tests.amqp.support import PATIENCE_SECONDS, Recorder
from tests.support.consuming import consuming
from tests.support.rabbitmq import RabbitmqNode
from tests.support.waiting import wait_until

ATTEMPTS = 6


def test_a_subscriber_with_a_wrong_password_is_refused_once(
    rabbitmq: RabbitmqNode, account: Account, broker_vhost: str
) -> None:
    subscriber = Subscriber(account.url(rabbitmq, broker_vhost, password="wrong"))
    with pytest.raises(AccessRefused, match="refused the user name or password"):
        subscriber.register(print, "handler", ["#"])
    wait_until(lambda: times_logged(rabbitmq, "refused", account.name), PATIENCE_SECONDS)
    assert times_logged(rabbitmq, "refused", account.name) == 1


@pytest.mark.parametrize("vhost", ["nowhere", None])
def test_a_subscriber_is_refused_a_virtual_host(
    rabbitmq: RabbitmqNode, account: Account, broker_vhost: str, vhost: str | None
) -> None:
    """One that does not exist, and one of others."""
    subscriber = Subscriber(account.url(rabbitmq, vhost or broker_vhost))
    with pytest.raises(AccessRefused, match="refused the virtual host"):
        subscriber.register(print, "handler", ["#"])


def test_a_password_that_was_changed_is_waited_for(
    rabbitmq: RabbitmqNode,
    account: Account,
    broker_vhost: str,
    broker_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "domain_event_broker")
    allow(rabbitmq, account, broker_vhost)
    handler = Recorder()
    settings = {"URL": account.url(rabbitmq, broker_vhost), **QUICK}
    subscriber = Subscriber(settings)
    subscriber.register(handler, "handler", ["#"])
    with consuming(subscriber):
        publish_domain_event("test.first", {}, connection_settings=settings)
        handler.wait_for(1)
        account.save(rabbitmq, password="another")
        cut_off(rabbitmq, broker_vhost, publishers=1)
        see_patience(caplog, ATTEMPTS, words="connecting to")
        with pytest.raises(AccessRefused):
            publish_domain_event("test.refused", {}, connection_settings=settings)
        publish_domain_event("test.second", {}, connection_settings=broker_url)
        account.save(rabbitmq)
        handler.wait_for(2)
        publish_domain_event("test.third", {}, connection_settings=settings)
        handler.wait_for(3)
    assert handler.keys == ["test.first", "test.second", "test.third"]
    # Of the subscriber; whoever published was told by an error of its own.
    assert errors_told(caplog, "subscriber: ") == 1
    assert "refused the user name or password" in caplog.text
    assert account.password not in caplog.text


def test_a_virtual_host_that_was_deleted_is_waited_for(
    rabbitmq: RabbitmqNode, account: Account, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "domain_event_broker")
    vhost = f"deleted-{account.name}"
    rabbitmq.new_vhost(vhost)
    allow(rabbitmq, account, vhost)
    handler = Recorder()
    settings = {"URL": account.url(rabbitmq, vhost), **QUICK}
    subscriber = Subscriber(settings)
    subscriber.register(handler, "handler", ["#"])
    with consuming(subscriber):
        publish_domain_event("test.first", {}, connection_settings=settings)
        handler.wait_for(1)
        rabbitmq.delete_vhost(vhost)
        see_patience(caplog, ATTEMPTS, words="connecting to")
        rabbitmq.new_vhost(vhost)
        allow(rabbitmq, account, vhost)
        wait_until(lambda: told(caplog, "connected to"), PATIENCE_SECONDS)
        wait_until(lambda: rabbitmq.bindings(vhost, "handler"), PATIENCE_SECONDS)
        publish_domain_event("test.second", {}, connection_settings=settings)
        handler.wait_for(2)
    rabbitmq.delete_vhost(vhost)
    assert errors_told(caplog, "refused the virtual host") == 1
    assert errors_told(caplog, "handler: the queue was deleted") == 1
