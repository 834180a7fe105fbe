"""What found no queue of its handler comes back as soon as there is one; the rest stays."""

from __future__ import annotations

import json
import re
from functools import partial
from uuid import uuid4

import pika
import pytest

from domain_event_broker import DomainEvent, Subscriber
from domain_event_broker.messages import Message
from domain_event_broker.names import orphans
from domain_event_broker.transports.amqp import reclaiming
from domain_event_broker.transports.amqp.batches import Outgoing
from domain_event_broker.transports.amqp.targets import copy_target
from tests.amqp.support import EXCHANGE, Recorder
from tests.support.consuming import consuming
from tests.support.raw_amqp import raw_channel, ready_count, take_all
from tests.support.waiting import wait_until

ORPHANS = orphans(EXCHANGE)
# RabbitMQ 4 drops after twenty, unless it is told otherwise.
MANY_LOOKS = 30
# More than a quorum queue takes acknowledgements for at once.
MANY = 200
# More than it gives to a consumer that names no limit.
VERY_MANY = 2_100


def orphan(url: str, handler: str, count: int = 1) -> list[str]:
    """Do as a delay queue does with an event whose handler has no queue; return the ids."""
    ids = [str(uuid4()) for _ in range(count)]
    with raw_channel(url) as channel:
        for message_id in ids:
            event = DomainEvent("test.event", {}, uuid_string=message_id)
            channel.basic_publish(
                ORPHANS,
                handler,
                json.dumps(event.event_data).encode(),
                pika.BasicProperties(
                    delivery_mode=2,
                    message_id=message_id,
                    headers={"deb-routing-key": "test.event", "deb-attempts": 1},
                ),
            )
    return ids


def subscriber_of(url: str, handler: Recorder, *names: str) -> Subscriber:
    subscriber = Subscriber(url)
    for name in names:
        subscriber.register(handler, name, ["test.*"], max_retries=1)
    return subscriber


def taken_back(caplog: pytest.LogCaptureFixture) -> int:
    """How many are told of, which is when the originals are gone."""
    return sum(map(int, re.findall(r"taken back from .*: (\d+)\.", caplog.text)))


def is_taken_back(caplog: pytest.LogCaptureFixture, count: int) -> bool:
    return taken_back(caplog) == count


def test_those_of_its_own_handlers_come_back_and_others_stay(
    broker_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Recorder()
    subscriber = subscriber_of(broker_url, handler, "one", "another")
    strangers = orphan(broker_url, "nobody")
    own = orphan(broker_url, "one", MANY) + orphan(broker_url, "another")
    strangers += orphan(broker_url, "nobody")
    with consuming(subscriber):
        handler.wait_for(len(own))
        wait_until(lambda: taken_back(caplog) == len(own))
    wait_until(lambda: ready_count(broker_url, ORPHANS) == len(strangers))
    assert sorted(event.uuid_string for event in handler.events) == sorted(own)
    assert set(handler.keys) == {"test.event"}
    left = take_all(broker_url, ORPHANS)
    assert sorted(str(raw.properties.message_id) for raw in left) == sorted(strangers)


def test_one_behind_thousands_of_others_comes_back(
    broker_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reclaiming, "_SLOWER", 1.0)
    handler = Recorder()
    subscriber = subscriber_of(broker_url, handler, "one")
    orphan(broker_url, "nobody", VERY_MANY)
    orphan(broker_url, "one")
    with consuming(subscriber):
        wait_until(lambda: taken_back(caplog))
        wait_until(lambda: handler.events)
    assert len(handler.events) == 1
    wait_until(lambda: ready_count(broker_url, ORPHANS) == VERY_MANY)


def test_what_is_orphaned_while_a_subscriber_is_connected_comes_back(
    broker_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reclaiming, "_SLOWER", 1.0)
    handler = Recorder()
    subscriber = subscriber_of(broker_url, handler, "one")
    with consuming(subscriber):
        for number in range(3):
            orphan(broker_url, "one")
            wait_until(partial(is_taken_back, caplog, number + 1))
        wait_until(lambda: len(handler.events) >= 3)
    assert len(handler.events) == 3
    assert ready_count(broker_url, ORPHANS) == 0


def test_looking_expels_none(broker_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    class CountedLook(reclaiming._Look):
        def _on_count(self, frame: object) -> None:
            nonlocal looks
            super()._on_count(frame)
            # Others' looks hold them for a moment.
            looks += bool(self._expected)

    monkeypatch.setattr(reclaiming, "_Look", CountedLook)
    monkeypatch.setattr(reclaiming, "_FIRST_SECONDS", 0.01)
    monkeypatch.setattr(reclaiming, "_SLOWER", 1.0)
    monkeypatch.setattr(reclaiming, "_SILENCE_SECONDS", 0.01)
    subscriber = subscriber_of(broker_url, Recorder(), "one")
    strangers = orphan(broker_url, "nobody", 3)
    with consuming(subscriber):
        wait_until(lambda: looks >= MANY_LOOKS)
    wait_until(lambda: ready_count(broker_url, ORPHANS) == len(strangers))
    left = take_all(broker_url, ORPHANS)
    assert sorted(str(raw.properties.message_id) for raw in left) == sorted(strangers)


def test_one_whose_queue_is_deleted_meanwhile_stays(
    broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its copy reaches nobody, so the original is kept."""

    def to_nobody(name: str, message: Message) -> Outgoing:
        copies.append(name)
        return copy_target("deleted", message)

    copies: list[str] = []
    monkeypatch.setattr(reclaiming, "copy_target", to_nobody)
    subscriber = subscriber_of(broker_url, Recorder(), "one")
    (own,) = orphan(broker_url, "one")
    with consuming(subscriber):
        wait_until(lambda: copies)
        wait_until(lambda: ready_count(broker_url, ORPHANS) == 1)
    (left,) = take_all(broker_url, ORPHANS)
    assert left.properties.message_id == own
