"""A connection that is closed from here leaves no more in doubt than it must.

Its thread is held up, so that the goodbye comes at the worst moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from threading import Event, Thread

import pytest

from domain_event_broker import DomainEvent
from domain_event_broker.encoding import encode
from domain_event_broker.messages import Message
from domain_event_broker.settings import Settings
from domain_event_broker.transports.amqp.connection import ConnectionThread
from domain_event_broker.transports.amqp.targets import event_target
from domain_event_broker.transports.amqp.transport import AmqpTransport
from domain_event_broker.transports.base import Consumer, Delivery, Outcome, Subscription
from tests.support.raw_amqp import bind_queue, ready_count
from tests.support.waiting import wait_until

pytestmark = pytest.mark.fault(row=20)

QUEUE = "endings"
MAX_EVENT_BYTES = 10_000
PATIENCE_SECONDS = 30.0
LOOKS = 12
LETTERS = 400
#: Nobody is to say goodbye meanwhile.
HOLD_UP_SECONDS = 0.5


@pytest.fixture
def transport(broker_url: str) -> Iterator[AmqpTransport]:
    transport = AmqpTransport(Settings(broker_url))
    yield transport
    transport.close()


def test_an_ack_is_told_before_the_goodbye(transport: AmqpTransport, broker_url: str) -> None:
    """Of a handler that still ran at the end: or its event would come again."""
    consumer = transport.consumer()
    consumer.subscribe(Subscription(QUEUE, ("ending.*",)))
    assert transport.publish([message()] * 2, PATIENCE_SECONDS)
    consumer.start()
    # The ack of the first waits for a larger prefetch.
    consumer.ack(received(consumer))
    delivery = received(consumer)
    consumer.stop()
    assert consumer.flush(PATIENCE_SECONDS)
    with held_up(consumer._thread):
        consumer.ack(delivery)
        consumer._thread.post(partial(wait_for_goodbye, consumer._thread))
    consumer.close()

    assert ready_count(broker_url, QUEUE) == 0


def test_what_cannot_be_sent_any_more_is_not_refused(
    transport: AmqpTransport, broker_url: str
) -> None:
    """A refusal would be for good: its row in the outbox would be parked."""
    bind_queue(broker_url, QUEUE, "ending.*")
    transport.publish([message()], PATIENCE_SECONDS)
    publisher = transport.publisher()
    with held_up(publisher._connection):
        batch = publisher.publish([event_target(transport.settings, message())])
        closing = Thread(target=publisher.close, args=[PATIENCE_SECONDS])
        closing.start()
        wait_until(lambda: publisher.is_closed, PATIENCE_SECONDS)
    closing.join(PATIENCE_SECONDS)
    (result,) = batch.wait(PATIENCE_SECONDS)

    assert result.outcome is not Outcome.REFUSED


def test_a_look_that_ends_keeps_its_decisions(transport: AmqpTransport, broker_url: str) -> None:
    """A quorum queue loses acks that it had no time for when their channel closes."""
    consumer = transport.consumer()
    consumer.subscribe(Subscription(QUEUE, ("ending.*",)))
    consumer.close()
    for _ in range(LOOKS):
        confirmed = transport.requeue(f"{QUEUE}-dl", [message()] * LETTERS, PATIENCE_SECONDS)
        assert {result.outcome for result in confirmed} == {Outcome.CONFIRMED}
        with transport.dead_letters(QUEUE) as look:
            letters = look.take(2 * LETTERS)
            for letter in letters:
                look.discard(letter)
        # Of the looks before, none came back.
        assert len(letters) == LETTERS


def received(consumer: Consumer) -> Delivery:
    delivery = consumer.receive(PATIENCE_SECONDS)
    assert delivery is not None
    return delivery


def message() -> Message:
    return encode(DomainEvent("ending.near", {}), app_id=None, max_event_bytes=MAX_EVENT_BYTES)


@contextmanager
def held_up(thread: ConnectionThread) -> Iterator[None]:
    """What is posted in the block runs after it, all at once."""
    is_over = Event()

    def wait() -> None:
        is_over.wait(PATIENCE_SECONDS)

    thread.post(wait)
    yield
    is_over.set()


def wait_for_goodbye(thread: ConnectionThread) -> None:
    """Wait until the connection is to be closed, or for a moment."""
    with suppress(AssertionError):
        wait_until(lambda: thread.is_closing, HOLD_UP_SECONDS)
