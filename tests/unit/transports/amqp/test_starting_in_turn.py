"""A subscription whose first event may end the process: how long the next one waits for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pika
import pytest

from domain_event_broker.settings import Settings
from domain_event_broker.transports.amqp import caution
from domain_event_broker.transports.amqp.subscription import SubscriptionChannel
from domain_event_broker.transports.base import Delivery, Subscription


class Broker:
    """A channel, its connection's thread and their owner; what it is asked waits for answers."""

    def __init__(self) -> None:
        self.loop = self
        self.is_open = True
        self.timers: deque[Callable[[], None]] = deque()
        self.questions: deque[Callable[[Any], None]] = deque()
        self.deliver: Any = None
        self.delivered: list[Delivery] = []
        self.cautious = True

    def is_cautious(self) -> bool:
        return self.cautious

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        self.timers.append(callback)

    def queue_declare(self, name: str, passive: bool, callback: Callable[[Any], None]) -> None:
        assert passive
        self.questions.append(callback)

    def basic_consume(self, name: str, on_message_callback: Any, callback: Any) -> str:
        self.deliver = on_message_callback
        return "tag"

    def on_delivery(self, delivery: Delivery) -> None:
        self.delivered.append(delivery)

    def answer(self, count: int) -> None:
        self.questions.popleft()(SimpleNamespace(method=SimpleNamespace(message_count=count)))

    def let_time_pass(self) -> None:
        self.timers.popleft()()


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def safe() -> list[bool]:
    """Gets an item when the next subscription may start."""
    return []


@pytest.fixture
def starting(broker: Broker, safe: list[bool]) -> SubscriptionChannel:
    """Declared, and started while an event waits in its queue."""
    fake: Any = broker
    starting = SubscriptionChannel(Subscription("bill", ("#",)), Settings(), fake, fake)
    starting.channel, starting._is_declared = fake, True
    starting.start(lambda: safe.append(True))
    broker.answer(1)
    return starting


def come(broker: Broker, crashes: int, tag: int = 1) -> None:
    """An event, which was delivered so often before."""
    properties = pika.BasicProperties(headers={"x-delivery-count": crashes})
    method = pika.spec.Basic.Deliver("tag", tag, bool(crashes), "", "a.b")
    broker.deliver(broker, method, properties, b"{}")


@pytest.mark.usefixtures("starting")
def test_a_slow_broker_is_waited_for(broker: Broker, safe: list[bool]) -> None:
    for _ in range(5):
        broker.let_time_pass()
        broker.answer(1)
    come(broker, crashes=1)
    broker.let_time_pass()

    assert not safe
    assert (broker.timers, broker.questions) == (deque(), deque())


def test_suspects_are_until_the_last_is_settled(
    broker: Broker, safe: list[bool], starting: SubscriptionChannel
) -> None:
    for tag in (1, 2):
        come(broker, crashes=1, tag=tag)
        starting.settle(broker.delivered[-1])
        assert not safe
        broker.timers.clear()
    come(broker, crashes=0, tag=3)

    assert safe


def test_nor_is_there_one_more_where_the_queue_is_empty(
    broker: Broker, safe: list[bool], starting: SubscriptionChannel
) -> None:
    come(broker, crashes=1)
    starting.settle(broker.delivered[0])
    broker.timers.popleft()
    broker.let_time_pass()
    broker.answer(0)
    assert not safe
    broker.let_time_pass()

    assert safe


def test_after_some_time_one_is_enough(
    broker: Broker, safe: list[bool], starting: SubscriptionChannel
) -> None:
    come(broker, crashes=1)
    broker.cautious = False
    assert not safe
    starting.settle(broker.delivered[0])

    assert safe


@pytest.mark.usefixtures("starting")
def test_one_that_comes_for_the_first_time_is_not(broker: Broker, safe: list[bool]) -> None:
    come(broker, crashes=0)

    assert safe


@pytest.mark.usefixtures("starting")
def test_what_somebody_else_took_is_not(broker: Broker, safe: list[bool]) -> None:
    broker.let_time_pass()
    broker.answer(0)
    assert not safe  # it may be on its way
    broker.let_time_pass()

    assert safe


@pytest.mark.usefixtures("starting")
def test_what_never_comes_is_not_for_ever(broker: Broker, safe: list[bool]) -> None:
    for _ in range(caution._MAX_LOOKS):
        broker.let_time_pass()
        assert not safe
        broker.answer(1)
    broker.let_time_pass()

    assert safe


def test_others_are_to_hold_little_until_a_new_one_came(
    broker: Broker, starting: SubscriptionChannel
) -> None:
    assert starting.may_have_suspect
    come(broker, crashes=1)
    assert starting.may_have_suspect
    starting.settle(broker.delivered[0])
    assert starting.may_have_suspect  # as the next one may be
    come(broker, crashes=0, tag=2)

    assert not starting.may_have_suspect
