"""Batches: how long to wait, and what is said of what was not answered."""

import time
from threading import Timer

from domain_event_broker.errors import BrokerUnavailable
from domain_event_broker.messages import Message
from domain_event_broker.transports.amqp.batches import Batch, Outgoing
from domain_event_broker.transports.base import Outcome, PublishResult

CONFIRMED = PublishResult(Outcome.CONFIRMED)
PATIENCE_SECONDS = 60.0


def batch(count: int = 1) -> Batch:
    message = Message("user.left", b"{}")
    outgoing = Outgoing("events", message.routing_key, message)
    return Batch([outgoing] * count)


def test_what_was_never_written_is_known_not_to_be_sent() -> None:
    waiting = batch(2)
    assert waiting.may_write(0)

    written, unwritten = waiting.wait(0)

    assert written == PublishResult(Outcome.UNKNOWN)
    assert unwritten.outcome is Outcome.UNKNOWN
    assert isinstance(unwritten.error, BrokerUnavailable)


def test_nothing_is_written_that_was_given_up() -> None:
    waiting = batch()
    waiting.wait(0)

    assert not waiting.may_write(0)


def test_the_wait_is_counted_from_the_last_answer_to_others() -> None:
    waiting = batch()
    waiting.last_progress -= 2 * PATIENCE_SECONDS  # made long ago, while others were answered
    answer = Timer(0.05, waiting.set, (0, CONFIRMED))
    answer.start()

    assert waiting.wait(PATIENCE_SECONDS, since=time.monotonic()) == [CONFIRMED]
    answer.join()


def test_the_first_outcome_counts() -> None:
    waiting = batch()
    waiting.set(0, CONFIRMED)
    waiting.set(0, PublishResult(Outcome.REFUSED))

    assert waiting.results() == [CONFIRMED]
