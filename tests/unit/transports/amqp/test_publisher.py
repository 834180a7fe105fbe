"""What the publisher makes of answers that no broker gives on demand."""

from __future__ import annotations

from typing import Any

import pika
import pika.frame
import pika.spec
import pytest

from domain_event_broker.messages import Message
from domain_event_broker.settings import Settings
from domain_event_broker.transports.amqp.batches import Batch, Outgoing, Pending
from domain_event_broker.transports.amqp.publisher import Publisher
from domain_event_broker.transports.base import Outcome

LEFT, CURRENT = object(), object()


@pytest.fixture
def publisher() -> Publisher:
    """On its second channel, the first having been left with an answer on its way."""
    publisher = Publisher(Settings())
    publisher._channel = CURRENT
    return publisher


@pytest.fixture
def batch(publisher: Publisher) -> Batch:
    """One message, written to the current channel as its first."""
    batch = Batch([Outgoing("exchange", "key", Message("key", b"{}", message_id="an id"))])
    batch.may_write(0)
    publisher._unconfirmed[1] = Pending(batch, 0)
    return batch


def outcome(batch: Batch) -> Outcome:
    (result,) = batch.results()
    return result.outcome


def ack(tag: int, *, multiple: bool = False) -> Any:
    return pika.frame.Method(1, pika.spec.Basic.Ack(tag, multiple))


@pytest.mark.parametrize("multiple", [False, True])
def test_a_late_confirm_of_a_channel_that_was_left_is_nobody_elses(
    publisher: Publisher, batch: Batch, multiple: bool
) -> None:
    publisher._on_confirm(LEFT, ack(1, multiple=multiple))
    assert outcome(batch) is Outcome.UNKNOWN

    publisher._on_confirm(CURRENT, ack(1, multiple=multiple))
    assert outcome(batch) is Outcome.CONFIRMED


def test_neither_is_a_late_return(publisher: Publisher, batch: Batch) -> None:
    returned = pika.spec.Basic.Return(312, "NO_ROUTE", "exchange", "key")
    properties = pika.BasicProperties(message_id="an id")
    publisher._on_return(LEFT, returned, properties, b"{}")
    publisher._on_confirm(CURRENT, ack(1))

    assert outcome(batch) is Outcome.CONFIRMED
