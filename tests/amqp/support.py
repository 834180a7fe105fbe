"""What the AMQP transport's tests share: handlers that take notes, raw events, dead letters."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pika
import pytest

from domain_event_broker import DomainEvent
from domain_event_broker.names import dead_letter_queue
from tests.support.rabbitmq import RabbitmqNode
from tests.support.raw_amqp import RawMessage, ready_count, send, take_all
from tests.support.waiting import wait_until

EXCHANGE = "domain-events"
#: Far longer than anything should take, for machines that are busy elsewhere.
PATIENCE_SECONDS = 30.0


class Recorder:
    """A handler that notes the events it was given, and then does what `then` says."""

    def __init__(self, then: Callable[[DomainEvent], object] | None = None) -> None:
        self.events: list[DomainEvent] = []
        self._then = then

    def __call__(self, event: DomainEvent) -> None:
        self.events.append(event)
        if self._then is not None:
            self._then(event)

    @property
    def keys(self) -> list[str]:
        return [event.routing_key for event in self.events]

    @property
    def retries(self) -> list[int]:
        return [event.retries for event in self.events]

    def wait_for(self, count: int) -> None:
        wait_until(lambda: len(self.events) >= count, PATIENCE_SECONDS, self._description)

    def wait_for_key(self, routing_key: str) -> None:
        wait_until(lambda: routing_key in self.keys, PATIENCE_SECONDS, self._description)

    def _description(self) -> str:
        return f"handled so far: {self.keys}"


@dataclass(frozen=True)
class DeadLetter:
    """A dead letter as it lies in its queue."""

    raw: RawMessage

    @property
    def reason(self) -> Any:
        return self.raw.headers.get("deb-reason")

    @property
    def error_type(self) -> Any:
        return self.raw.headers.get("deb-error-type")

    @property
    def error_message(self) -> Any:
        return self.raw.headers.get("deb-error-message")


def wait_for_dead_letters(url: str, handler: str, count: int = 1) -> list[DeadLetter]:
    """Wait until `count` are there, remove them, and return them in order."""
    queue = dead_letter_queue(handler)
    wait_until(
        lambda: ready_count(url, queue) >= count,
        PATIENCE_SECONDS,
        lambda: f"{ready_count(url, queue)} dead letters of {handler}, not {count}",
    )
    taken = [DeadLetter(raw) for raw in take_all(url, queue)]
    assert len(taken) == count
    return taken


def wait_for_dead_letter(url: str, handler: str) -> DeadLetter:
    (dead_letter,) = wait_for_dead_letters(url, handler)
    return dead_letter


def wait_until_empty(url: str, queue: str) -> None:
    wait_until(lambda: not ready_count(url, queue), PATIENCE_SECONDS, f"{queue} holds messages")


def body_of(routing_key: str, **fields: Any) -> bytes:
    """The body of an event, with some fields as they are given."""
    event: dict[str, Any] = {
        "routing_key": routing_key,
        "data": {},
        "domain_object_id": None,
        "uuid_string": str(uuid4()),
        "timestamp": 1_700_000_000.5,
    }
    return json.dumps({**event, **fields}).encode()


def send_raw(
    url: str,
    routing_key: str,
    body: bytes | None = None,
    properties: pika.BasicProperties | None = None,
    headers: dict[Any, Any] | None = None,
) -> None:
    """Publish to the exchange what another client may, persistently and past our own code."""
    properties = properties or pika.BasicProperties(headers=headers, delivery_mode=2)
    send(url, EXCHANGE, routing_key, body_of(routing_key) if body is None else body, properties)


def wait_for_subscribers(rabbitmq: RabbitmqNode, vhost: str, count: int = 1) -> list[str]:
    """The names, with client's port, of the subscribers' connections, once there are `count`."""

    def names() -> list[str]:
        return sorted(
            row["name"]
            for row in rabbitmq.connections(vhost)
            if "subscriber" in row.get("client_properties", {}).get("connection_name", "")
        )

    wait_until(lambda: len(names()) == count, PATIENCE_SECONDS, lambda: f"connected: {names()}")
    return names()


def transport_warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the transport complained about so far, such as a lost connection."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("domain_event_broker.transports")
        and record.levelno >= logging.WARNING
    ]
