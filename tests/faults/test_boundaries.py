"""Just within a limit, and just beyond it: refused before the commit, on a connection that stays.

The process's own limits are told to whoever publishes. The broker's own limit of a message's size
is learned from the broker: the event is parked, and its neighbours arrive.
"""

from __future__ import annotations

import pytest
from django.db import transaction
from pytest_django import Settings as DjangoSettings

from domain_event_broker import DomainEvent, Outcome, publish_domain_event, publish_domain_events
from domain_event_broker.django.background import publisher
from domain_event_broker.django.sending import outbox
from domain_event_broker.encoding import encode_body
from domain_event_broker.errors import DomainEventBrokerError, EventTooLarge, InvalidEvent
from tests.conftest import PrivateRabbitmq, vhost_of
from tests.django.marks import both_databases
from tests.django.relays import a_relay
from tests.django.rows import DEFAULT, there
from tests.support.rabbitmq import RabbitmqNode
from tests.support.raw_amqp import bind_queue, take_all
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.fault(row=18), both_databases]

PATIENCE_SECONDS = 60.0
MAX_EVENT_BYTES = 20_000
#: RabbitMQ's since 4.0.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
LONGEST_KEYS = ["k" * 255, "é" * 127 + "k", "€" * 85, "😀" * 63 + "kkk"]
KEY = "limit.near"
QUEUE = "seen"

#: What is published, and what is raised.
Refusal = tuple[DomainEvent, type[DomainEventBrokerError]]


def sized(size: int) -> DomainEvent:
    """An event whose body has so many bytes."""
    event = DomainEvent(KEY, {"text": ""})
    event.data["text"] = "x" * (size - len(encode_body(event)))
    assert len(encode_body(event)) == size
    return event


def fitting() -> list[DomainEvent]:
    return [*(DomainEvent(key, {}) for key in LONGEST_KEYS), sized(MAX_EVENT_BYTES)]


def refused() -> list[Refusal]:
    keys: list[Refusal] = [(DomainEvent(f"{key}k", {}), InvalidEvent) for key in LONGEST_KEYS]
    return [*keys, (sized(MAX_EVENT_BYTES + 1), EventTooLarge)]


@pytest.fixture
def url(broker_url: str, settings: DjangoSettings) -> str:
    """The project's broker, with a queue for everything."""
    bind_queue(broker_url, QUEUE, "#")
    settings.DOMAIN_EVENT_BROKER = {"URL": broker_url, "MAX_EVENT_BYTES": MAX_EVENT_BYTES}
    return broker_url


def test_published_at_once(url: str, rabbitmq: RabbitmqNode) -> None:
    setting = {"URL": url, "MAX_EVENT_BYTES": MAX_EVENT_BYTES}
    stored: list[str] = []
    connection = ""
    for event in fitting():
        (result,) = publish_domain_events([event], setting)
        assert result.outcome is Outcome.CONFIRMED
        stored.append(event.uuid_string)
        connection = connection or only_connection(rabbitmq, url)
    for event, error in refused():
        # With a good one, which is not sent either.
        with pytest.raises(error):
            publish_domain_events([DomainEvent(KEY, {}), event], setting)
        stored.append(publish_domain_event(KEY, {}, connection_settings=setting).uuid_string)

    assert arrived(url) == stored
    assert only_connection(rabbitmq, url) == connection


def test_published_in_transactions(url: str, rabbitmq: RabbitmqNode) -> None:
    stored: list[str] = []
    with transaction.atomic():
        publish_domain_events(fitting())
    stored += arrived_when_sent(url, len(fitting()))
    connection = only_connection(rabbitmq, url)
    for event, error in refused():
        with pytest.raises(error), transaction.atomic():  # noqa: PT012
            publish_domain_event(KEY, {})
            publish_domain_events([event])
        assert not there()
        with transaction.atomic():
            kept = publish_domain_event(KEY, {})
            with pytest.raises(error):
                publish_domain_events([event])
        assert arrived_when_sent(url, 1) == [kept.uuid_string]

    assert not there()
    assert only_connection(rabbitmq, url) == connection


def test_the_limit_of_the_broker(
    private_rabbitmq: PrivateRabbitmq, settings: DjangoSettings
) -> None:
    """Which this process does not know: with the channel that it costs, no neighbour is lost."""
    node = private_rabbitmq(rabbit_settings={"max_message_size": str(MAX_MESSAGE_BYTES)})
    url = node.new_vhost()
    bind_queue(url, QUEUE, "#")
    settings.DOMAIN_EVENT_BROKER = {"URL": url, "MAX_EVENT_BYTES": 2 * MAX_MESSAGE_BYTES}
    events = [sized(MAX_MESSAGE_BYTES + more) for more in (-1, 0, 1)]
    events.insert(2, DomainEvent(KEY, {}))
    events.append(DomainEvent(KEY, {}))
    with transaction.atomic():
        publish_domain_events(events)
    assert publisher.flush(PATIENCE_SECONDS)
    connection = only_connection(node, url)
    with a_relay() as relay:

        def are_sent_but_one() -> bool:
            relay.sweep()
            return outbox(DEFAULT).count() == outbox(DEFAULT).parked().count() == 1

        wait_until(are_sent_but_one, PATIENCE_SECONDS)

    too_large = events[3].uuid_string
    assert there() == [too_large]
    assert set(arrived(url)) == {event.uuid_string for event in events} - {too_large}
    assert only_connection(node, url) == connection


def arrived(url: str) -> list[str]:
    """The ids of the events in the queue, which is empty then."""
    return [str(message.properties.message_id) for message in take_all(url, QUEUE)]


def arrived_when_sent(url: str, count: int) -> list[str]:
    assert publisher.flush(PATIENCE_SECONDS)
    ids = arrived(url)
    assert len(ids) == count
    return ids


def only_connection(node: RabbitmqNode, url: str) -> str:
    """The name, with the client's port, of the one connection that publishes."""

    def names() -> list[str]:
        rows = node.connections(vhost_of(url))
        return [row["name"] for row in rows if "publisher" in row.get("user_provided_name", "")]

    wait_until(lambda: len(names()) == 1, PATIENCE_SECONDS, lambda: f"connected: {names()}")
    return names()[0]
