"""Users who may not do everything: what somebody else declared is used, what is missing is named.

``docs/how-to/run-in-production.md`` gives the permissions that are tried here.
"""

from __future__ import annotations

import logging
from contextlib import suppress

import pytest

from domain_event_broker import DomainEvent, Retry, Subscriber, publish_domain_event, replay_all
from domain_event_broker.errors import AccessRefused
from tests.amqp.accounts import NOTHING, Account, allow
from tests.amqp.refusals import QUICK, cut_off, errors_told, see_patience
from tests.amqp.support import PATIENCE_SECONDS, Recorder, wait_for_dead_letter, wait_until_empty
from tests.support.consuming import consuming
from tests.support.rabbitmq import RabbitmqNode
from tests.support.raw_amqp import ready_count
from tests.support.waiting import wait_until

HANDLER = "shop.pay"
#: Of a service whose queues somebody else declares.
SERVICE = {
    "configure": NOTHING,
    "write": r"^(domain-events|domain-events-delay\.v1|amq\.default)$",
    "read": r"^(domain-events-orphans|shop\..*)$",
}
#: Of one that declares its own queues, but not what all services share.
OWNER = {
    "configure": r"^shop\..*$",
    "write": r"^(domain-events|domain-events-delay\.v1|amq\.default|shop\..*)$",
    "read": r"^(domain-events|domain-events-requeue|domain-events-orphans|shop\..*)$",
}
RIGHTS = {"service": SERVICE, "owner": OWNER}


@pytest.fixture
def declared_url(broker_url: str) -> str:
    """Where somebody else has declared everything."""
    declare(broker_url)
    return broker_url


def declare(url: str) -> None:
    subscriber = Subscriber(url)
    subscriber.register(print, HANDLER, ["order.*"], max_retries=1)
    subscriber.disconnect()


@pytest.mark.parametrize("rights", RIGHTS)
def test_what_others_declared_is_enough(
    rabbitmq: RabbitmqNode, account: Account, broker_vhost: str, declared_url: str, rights: str
) -> None:
    """To publish, to handle, to retry, to keep dead letters and to replay them."""
    allow(rabbitmq, account, broker_vhost, **RIGHTS[rights])
    url = account.url(rabbitmq, broker_vhost)

    def refuse_twice(event: DomainEvent) -> None:
        if event.retries == 0:
            raise Retry(0.1)
        if len(handler.events) == 2:
            raise ValueError("not paid")

    handler = Recorder(refuse_twice)
    subscriber = Subscriber(url)
    subscriber.register(handler, HANDLER, ["order.*"], max_retries=1)
    published = publish_domain_event("order.placed", {}, connection_settings=url)
    with consuming(subscriber):
        handler.wait_for(2)
        wait_until(lambda: ready_count(declared_url, f"{HANDLER}-dl"), PATIENCE_SECONDS)
        assert replay_all(HANDLER, connection_settings=url) == 0
        handler.wait_for(4)
        wait_until_empty(declared_url, HANDLER)
    assert {event.uuid_string for event in handler.events} == {published.uuid_string}
    assert handler.retries == [0, 1, 0, 1]


def test_a_queue_that_nobody_declared_is_named(
    rabbitmq: RabbitmqNode, account: Account, broker_vhost: str, declared_url: str
) -> None:
    allow(rabbitmq, account, broker_vhost, **SERVICE)
    subscriber = Subscriber(account.url(rabbitmq, broker_vhost))
    with pytest.raises(AccessRefused, match=r"declare_queues.*no queue 'shop\.ship'"):
        subscriber.register(print, "shop.ship", ["order.*"])
    assert rabbitmq.queue(broker_vhost, "shop.ship") is None
    # Once somebody has, it is no obstacle any more.
    subscriber.register(print, HANDLER, ["order.*"])
    subscriber.disconnect()


def test_an_exchange_that_nobody_declared_is_named(
    rabbitmq: RabbitmqNode, account: Account, broker_vhost: str, broker_url: str
) -> None:
    allow(rabbitmq, account, broker_vhost, **SERVICE)
    url = account.url(rabbitmq, broker_vhost)
    with pytest.raises(AccessRefused, match=r"declare_queues.*no exchange 'domain-events'"):
        publish_domain_event("order.placed", {}, connection_settings=url)
    with pytest.raises(AccessRefused, match=r"declare_queues.*no exchange 'domain-events'"):
        Subscriber(url).register(print, HANDLER, ["order.*"])
    declare(broker_url)
    publish_domain_event("order.placed", {}, connection_settings=url)


def test_a_queue_that_cannot_be_bound_is_an_error(
    rabbitmq: RabbitmqNode, account: Account, broker_vhost: str, declared_url: str
) -> None:
    """It is there then, and declared by ourselves: nobody else binds it."""
    rights = {**OWNER, "read": r"^shop\..*$"}
    allow(rabbitmq, account, broker_vhost, **rights)
    with pytest.raises(AccessRefused, match=r"refused a permission.*'domain-events"):
        Subscriber(account.url(rabbitmq, broker_vhost)).register(print, "shop.ship", ["order.*"])


def test_a_queue_that_may_not_be_read_is_an_error_at_the_start(
    rabbitmq: RabbitmqNode, account: Account, broker_vhost: str, declared_url: str
) -> None:
    # On 4.3 one of the three permissions is needed to look whether it is there.
    rights = {"configure": r"^shop\..*$", "write": r"^(domain-events|shop\..*)$", "read": NOTHING}
    allow(rabbitmq, account, broker_vhost, **{**rights, "read": "^domain-events.*$"})
    subscriber = Subscriber(account.url(rabbitmq, broker_vhost))
    subscriber.register(print, HANDLER, ["order.*"])
    with pytest.raises(AccessRefused, match=rf"refused a permission.*'{HANDLER}'"):
        subscriber.start_consuming(timeout=60)


def test_a_permission_taken_away_is_waited_for(
    rabbitmq: RabbitmqNode,
    account: Account,
    broker_vhost: str,
    declared_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "domain_event_broker")
    allow(rabbitmq, account, broker_vhost)
    handler = Recorder()
    settings = {"URL": account.url(rabbitmq, broker_vhost), **QUICK}
    subscriber = Subscriber(settings)
    subscriber.register(handler, HANDLER, ["order.*"])
    with consuming(subscriber):
        publish_domain_event("order.placed", {}, connection_settings=declared_url)
        handler.wait_for(1)
        allow(rabbitmq, account, broker_vhost, read="^domain-events.*$")
        cut_off(rabbitmq, broker_vhost)
        see_patience(caplog, attempts=6, words="refused a permission")
        publish_domain_event("order.placed", {}, connection_settings=declared_url)
        allow(rabbitmq, account, broker_vhost)
        handler.wait_for(2)
    assert errors_told(caplog, "refused a permission") == 1


def test_a_dead_letter_that_may_not_be_written_is_held(
    rabbitmq: RabbitmqNode,
    account: Account,
    broker_vhost: str,
    declared_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(event: DomainEvent) -> None:
        raise ValueError("not paid")

    allow(rabbitmq, account, broker_vhost, **{**SERVICE, "write": "^domain-events$"})
    url = account.url(rabbitmq, broker_vhost)
    subscriber = Subscriber(url)
    subscriber.register(Recorder(fail), HANDLER, ["order.*"])
    published = publish_domain_event("order.placed", {}, connection_settings=url)
    with consuming(subscriber):
        wait_until(lambda: errors_told(caplog, "is held and moved again"), 30)
        assert errors_told(caplog, "refused a permission") == 1
        allow(rabbitmq, account, broker_vhost, **SERVICE)
        # What a connection was refused it may be refused on, until it is opened anew.
        close_publishers(rabbitmq, broker_vhost)
        letter = wait_for_dead_letter(declared_url, HANDLER)
    assert letter.raw.properties.message_id == published.uuid_string


def close_publishers(node: RabbitmqNode, vhost: str) -> None:
    for row in node.connections(vhost):
        if "publisher" in row["client_properties"].get("connection_name", ""):
            with suppress(OSError):
                node.management.delete("connections", row["name"])
