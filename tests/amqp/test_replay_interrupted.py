"""A look that ends before its time: what was not decided on is still there."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from types import FrameType
from typing import Any

import pytest

from domain_event_broker import (
    LEAVE,
    RETRY,
    DomainEvent,
    Subscriber,
    publish_domain_events,
    replay_all,
)
from domain_event_broker.errors import InvalidReplayAction, TransportError
from domain_event_broker.settings import Settings, resolve
from domain_event_broker.transports import transport_for
from tests.amqp.support import PATIENCE_SECONDS
from tests.support.rabbitmq import RabbitmqNode
from tests.support.raw_amqp import ready_count, take_all
from tests.support.waiting import wait_until

NAME = "failing"
COUNT = 30
#: At which of them the look ends.
END_AT = 10


class Stop(Exception):
    """Raised by a callback."""


@pytest.fixture
def events(broker_url: str) -> list[DomainEvent]:
    """Dead letters of a handler."""

    def fail(event: DomainEvent) -> None:
        raise ValueError("cannot handle this")

    subscriber = Subscriber(broker_url)
    subscriber.register(fail, NAME, ["user.#"])
    events = [DomainEvent("user.left", {"n": n}) for n in range(COUNT)]
    publish_domain_events(events, broker_url)
    subscriber.start_consuming(drain=True)
    return events


def identities(url: str, queue: str) -> list[str]:
    return [DomainEvent.from_json(message.body).uuid_string for message in take_all(url, queue)]


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt, SystemExit])
def test_an_error_of_the_callback_loses_nothing(
    broker_url: str, events: list[DomainEvent], error: type[BaseException]
) -> None:
    decided: list[bytes] = []

    def decide(body: bytes, **kwargs: Any) -> str:
        if len(decided) == END_AT:
            raise error
        decided.append(body)
        return RETRY if len(decided) % 2 else LEAVE

    with pytest.raises(error):
        replay_all(NAME, decide, broker_url)
    wait_until(lambda: ready_count(broker_url, f"{NAME}-dl") == COUNT - END_AT // 2)
    stayed, replayed = identities(broker_url, f"{NAME}-dl"), identities(broker_url, NAME)
    assert len(replayed) == END_AT // 2
    assert Counter(stayed + replayed) == Counter(event.uuid_string for event in events)


def test_an_answer_that_is_none_loses_nothing(broker_url: str, events: list[DomainEvent]) -> None:
    def decide(frame: Any, **kwargs: Any) -> str:
        return RETRY if frame.message_count > COUNT - END_AT - 1 else "perhaps"

    with pytest.raises(InvalidReplayAction, match="perhaps"):
        replay_all(NAME, decide, broker_url)
    wait_until(lambda: ready_count(broker_url, f"{NAME}-dl") == COUNT - END_AT)
    assert len(identities(broker_url, NAME)) == END_AT


@pytest.mark.parametrize("purposes", [["dead letters of"], ["dead letters of", "publisher"]])
def test_a_connection_closed_by_the_broker_loses_nothing(
    broker_url: str,
    broker_vhost: str,
    rabbitmq: RabbitmqNode,
    events: list[DomainEvent],
    purposes: list[str],
) -> None:
    """With the publishing connection, or without it."""

    def rows() -> list[Any]:
        """Of these connections, as many as the broker lists by now."""
        rows = rabbitmq.connections(broker_vhost)
        names = [row.get("user_provided_name", "") for row in rows]
        return [
            row for row, name in zip(rows, names, strict=True) if any(p in name for p in purposes)
        ]

    def close() -> None:
        wait_until(lambda: len(rows()) == len(purposes), PATIENCE_SECONDS)
        for row in rows():
            rabbitmq.management.delete("connections", row["name"])
        wait_until(lambda: not rows(), PATIENCE_SECONDS)

    offered: list[bytes] = []

    def decide(body: bytes, **kwargs: Any) -> str:
        offered.append(body)
        if len(offered) == END_AT:
            close()
        return RETRY

    with pytest.raises(TransportError):
        replay_all(NAME, decide, broker_url)
    wait_until(
        lambda: ready_count(broker_url, f"{NAME}-dl") + ready_count(broker_url, NAME) >= COUNT,
        PATIENCE_SECONDS,
    )
    stayed, replayed = identities(broker_url, f"{NAME}-dl"), identities(broker_url, NAME)
    assert {*stayed, *replayed} == {event.uuid_string for event in events}
    # At most the one that was being decided on is there twice.
    assert len(stayed + replayed) <= COUNT + 1
    assert len(replayed) >= END_AT - 1


def test_the_rest_can_be_replayed_later(
    broker_url: str, broker_vhost: str, rabbitmq: RabbitmqNode, events: list[DomainEvent]
) -> None:
    def disconnect(**kwargs: Any) -> str:
        wait_until(lambda: rabbitmq.close_connections(broker_vhost))
        raise Stop

    with pytest.raises(Stop):
        replay_all(NAME, disconnect, broker_url)
    wait_until(lambda: ready_count(broker_url, f"{NAME}-dl") == COUNT, PATIENCE_SECONDS)
    assert replay_all(NAME, connection_settings=broker_url) == 0
    assert Counter(identities(broker_url, NAME)) == Counter(e.uuid_string for e in events)


def take_until_interrupted(settings: Settings) -> None:
    with transport_for(settings).dead_letters(NAME) as box:
        box.take(1)
        signal.setitimer(signal.ITIMER_REAL, 0.002)
        while True:
            box.take(COUNT)


def test_an_interrupt_while_taking_leaves_nothing_behind(
    broker_url: str, events: list[DomainEvent]
) -> None:
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Stop

    before = signal.signal(signal.SIGALRM, interrupt)
    settings = resolve(broker_url)
    assert settings is not None
    try:
        with pytest.raises(Stop):
            take_until_interrupted(settings)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not [each.name for each in threading.enumerate() if "dead letters" in each.name]
    wait_until(lambda: ready_count(broker_url, f"{NAME}-dl") == COUNT)
