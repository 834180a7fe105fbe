"""The outbox before a real RabbitMQ: what it says of an event, and what becomes of the row."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import transaction
from pytest_django import Settings

from domain_event_broker import publish_domain_event
from domain_event_broker.django.background import publisher
from domain_event_broker.django.sending import outbox
from domain_event_broker.errors import EventTooLarge, UnroutableEvent
from tests.conftest import PrivateRabbitmq
from tests.support.raw_amqp import bind_queue, raw_channel, ready_count, take_all
from tests.support.waiting import wait_until

from .marks import both_databases
from .project import Project
from .relays import a_relay
from .rows import DEFAULT, only_row, there

pytestmark = both_databases

LIMIT_SECONDS = 30.0
MAX_MESSAGE_BYTES = 2_000


def publish(*names: str, data: Any = None) -> None:
    with transaction.atomic():
        for name in names:
            publish_domain_event("order.placed", data, uuid_string=name)


def arrived(url: str, queue: str = "orders") -> list[str]:
    """The ids of the events in the queue, which is empty then."""
    return [json.loads(message.body)["uuid_string"] for message in take_all(url, queue)]


@pytest.fixture
def url(broker_url: str, settings: Settings) -> str:
    """The project's broker, with a queue for orders."""
    settings.DOMAIN_EVENT_BROKER = broker_url
    bind_queue(broker_url, "orders", "order.*")
    return broker_url


def test_committed_events_arrive_in_order_and_their_rows_go(url: str) -> None:
    publish("a", "b")
    publish("c")
    assert publisher.flush(LIMIT_SECONDS)

    assert arrived(url) == ["a", "b", "c"]
    assert there() == []


def test_what_a_short_process_published_arrives(url: str, project: Project) -> None:
    project.set(DOMAIN_EVENT_BROKER=url)
    project.write(
        "orders/management/commands/publish.py",
        """
        from django.core.management import BaseCommand

        from domain_event_broker import publish_domain_event


        class Command(BaseCommand):
            def handle(self, **options):
                for number in range(100):
                    publish_domain_event("order.placed", {}, uuid_string=str(number))
        """,
    )
    finished = project.run("publish")

    assert (finished.returncode, finished.stderr) == (0, "")
    assert arrived(url) == [str(number) for number in range(100)]
    assert project.rows("SELECT id FROM domain_event_broker_outboxevent") == []


def test_an_event_that_is_too_large_for_it_is_parked_and_its_neighbours_arrive(
    private_rabbitmq: PrivateRabbitmq, settings: Settings, failures: list[dict[str, Any]]
) -> None:
    node = private_rabbitmq(rabbit_settings={"max_message_size": str(MAX_MESSAGE_BYTES)})
    url = node.new_vhost()
    settings.DOMAIN_EVENT_BROKER = url
    bind_queue(url, "orders", "order.*")
    with transaction.atomic():
        publish("a", "b")
        publish("large", data={"text": "x" * 2 * MAX_MESSAGE_BYTES})
        publish("c", "d")

    assert publisher.flush(LIMIT_SECONDS)
    with a_relay() as relay:

        def are_sent_but_one() -> bool:
            relay.sweep()
            return outbox(DEFAULT).count() == outbox(DEFAULT).parked().count() == 1

        wait_until(are_sent_but_one, LIMIT_SECONDS)

    assert set(arrived(url)) == {"a", "b", "c", "d"}
    assert there() == ["large"]
    (told,) = failures
    assert told["event_id"] == "large"
    assert isinstance(told["error"].__cause__, EventTooLarge)
    assert "xxx" not in only_row().error


def test_what_a_full_queue_refuses_is_tried_again(url: str) -> None:
    arguments = {"x-max-length": 1, "x-overflow": "reject-publish"}
    with raw_channel(url) as channel:
        channel.queue_declare("full", durable=True, arguments=arguments)
        channel.queue_bind("full", "domain-events", routing_key="order.*")
    publish("a")
    assert publisher.flush(LIMIT_SECONDS)
    publish("b")
    assert publisher.flush(LIMIT_SECONDS)
    publisher.close()  # it would try again by itself
    row = only_row()
    assert row.event_id == "b"
    assert row.attempts >= 1
    assert ready_count(url, "full") == 1
    assert arrived(url, "full") == ["a"]

    with a_relay() as relay:
        wait_until(lambda: relay.sweep().sent == 1, LIMIT_SECONDS)
    assert arrived(url, "full") == ["b"]
    assert there() == []


def test_what_nobody_is_bound_for_is_parked_where_that_is_an_error(
    url: str, settings: Settings, failures: list[dict[str, Any]]
) -> None:
    settings.DOMAIN_EVENT_BROKER = {"URL": url, "UNROUTABLE": "raise"}
    with transaction.atomic():
        publish_domain_event("user.left", {}, uuid_string="for nobody")
        publish("a")
    assert publisher.flush(LIMIT_SECONDS)

    assert arrived(url) == ["a"]
    assert there() == ["for nobody"]
    assert outbox(DEFAULT).parked().count() == 1
    assert [type(told["error"]) for told in failures] == [UnroutableEvent]
