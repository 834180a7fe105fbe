"""Registering and consuming as in 3.x."""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Iterator
from functools import partial

import pytest

import domain_event_broker.settings as settings_module
from domain_event_broker import DomainEvent, Publisher, Retry, Subscriber, publish_domain_event
from tests.support.consuming import consuming
from tests.support.rabbitmq import RabbitmqNode
from tests.support.waiting import wait_until


class Handler:
    """Notes the events that it is given."""

    def __init__(self) -> None:
        self.events: list[DomainEvent] = []

    def __call__(self, event: DomainEvent) -> None:
        self.events.append(event)


def test_an_event_reaches_its_handler_as_it_was_published(default_broker: str) -> None:
    handler = Handler()
    subscriber = Subscriber()
    subscriber.register(handler, "printer", ["user.*"])
    published = publish_domain_event("user.registered", {"user_id": 1}, "42")
    publish_domain_event("order.placed", {})
    subscriber.start_consuming(drain=True)
    (event,) = handler.events
    assert event == published
    assert event.retries == 0


def test_arguments_may_be_given_by_position(default_broker: str, rabbitmq: RabbitmqNode) -> None:
    subscriber = Subscriber(default_broker, "domain-events", "topic")
    handler = Handler()
    subscriber.register(handler, "printer", ("user.*",), True, True, False, False, 3)
    publish_domain_event("user.registered", {})
    subscriber.start_consuming(drain=True)
    assert len(handler.events) == 1


def test_registering_returns_when_the_queue_is_bound(default_broker: str) -> None:
    subscriber = Subscriber()
    subscriber.register(Handler(), name="printer", binding_keys=["user.*", "order.#"])
    strict = {"URL": default_broker, "UNROUTABLE": "raise"}
    publish_domain_event("user.registered", {}, connection_settings=strict)
    publish_domain_event("order.placed.today", {}, connection_settings=strict)
    subscriber.disconnect()


def test_two_handlers_get_what_each_is_bound_for(default_broker: str) -> None:
    one, two, both = Handler(), Handler(), Handler()
    subscriber = Subscriber()
    subscriber.register(one, "listener-one", ["test.one"])
    subscriber.register(two, "listener-two", ["test.two"])
    subscriber.register(both, "listener-both", ["test.one", "test.*"])
    for key in ("test.one", "test.two"):
        publish_domain_event(key, {})
    subscriber.start_consuming(drain=True)
    assert [e.routing_key for e in one.events] == ["test.one"]
    assert [e.routing_key for e in two.events] == ["test.two"]
    assert [e.routing_key for e in both.events] == ["test.one", "test.two"]


def test_consuming_ends_after_its_timeout(default_broker: str) -> None:
    subscriber = Subscriber()
    subscriber.register(Handler(), "idle", ["#"])
    subscriber.start_consuming(timeout=0.1)
    subscriber.start_consuming(0.1)


def test_an_auto_delete_queue_goes_with_its_subscriber(
    default_broker: str, rabbitmq: RabbitmqNode, broker_vhost: str
) -> None:
    handler = Handler()
    subscriber = Subscriber()
    subscriber.register(handler, "fleeting", ["test.*"], auto_delete=True)
    publish_domain_event("test.fleeting", {})
    subscriber.start_consuming(drain=True)
    assert len(handler.events) == 1
    wait_until(lambda: rabbitmq.queue(broker_vhost, "fleeting") is None)


def test_without_a_broker_nothing_is_declared_and_nothing_comes() -> None:
    subscriber = Subscriber(connection_settings=None)
    subscriber.register(Handler(), "nobody", ["#"], dead_letter=True)
    subscriber.connect()
    subscriber.start_consuming(timeout=1.0)
    subscriber.stop_consuming()
    subscriber.disconnect()
    settings_module.BROKER = None
    assert Subscriber().settings is None


def test_a_body_that_is_no_json_costs_itself_only(default_broker: str) -> None:
    handler = Handler()
    subscriber = Subscriber()
    subscriber.register(handler, "careful", ["#"], dead_letter=False)
    Publisher().publish("iamnotvalidjson[]", "foo")
    publish_domain_event("foo", {})
    subscriber.start_consuming(drain=True)
    assert len(handler.events) == 1


def test_an_event_is_tried_again_as_often_as_allowed(default_broker: str) -> None:
    retries: list[int] = []

    def handle(event: DomainEvent) -> None:
        retries.append(event.retries)
        raise Retry(0.1)

    subscriber = Subscriber()
    subscriber.register(handle, "stubborn", ["test.retry"], max_retries=3)
    publish_domain_event("test.retry", {})
    with consuming(subscriber):
        wait_until(lambda: len(retries) == 4)
    assert retries == [0, 1, 2, 3]


def test_a_handler_longer_than_the_heartbeat_is_acknowledged_once(
    default_broker: str, rabbitmq: RabbitmqNode, broker_vhost: str
) -> None:
    finished: list[DomainEvent] = []

    def handle(event: DomainEvent) -> None:
        # Long enough for the broker to give up a client that is silent under a heartbeat of 1 s.
        threading.Event().wait(3.0)
        finished.append(event)

    subscriber = Subscriber(f"{default_broker}?heartbeat=1")
    subscriber.register(handle, "slow", ["test.slow"])
    publish_domain_event("test.slow", {})
    subscriber.start_consuming(drain=True)
    assert len(finished) == 1
    assert rabbitmq.message_count(broker_vhost, "slow") == 0


def test_a_handler_may_end_consuming(
    default_broker: str, rabbitmq: RabbitmqNode, broker_vhost: str
) -> None:
    subscriber = Subscriber()
    subscriber.register(lambda event: subscriber.stop_consuming(), "last", ["#"])
    publish_domain_event("test.stop", {})
    subscriber.start_consuming()
    assert rabbitmq.message_count(broker_vhost, "last") == 0


def test_what_was_handled_is_acknowledged_when_consuming_ends(
    default_broker: str, rabbitmq: RabbitmqNode, broker_vhost: str
) -> None:
    handler = Handler()
    subscriber = Subscriber()
    subscriber.register(handler, "stepwise", ["#"])
    for number in range(3):
        publish_domain_event("test.step", {"n": number})

    def waits(count: int) -> bool:
        return rabbitmq.message_count(broker_vhost, "stepwise") == count

    for left in (2, 1, 0):
        subscriber.start_consuming(max_events=1)
        # What was given back counts as waiting once the broker has done so.
        wait_until(partial(waits, left))
    assert [event.data["n"] for event in handler.events] == [0, 1, 2]


def test_a_disconnected_subscriber_may_connect_again(default_broker: str) -> None:
    handler = Handler()
    subscriber = Subscriber()
    subscriber.register(handler, "back", ["#"])
    subscriber.disconnect()
    publish_domain_event("test.waits", {})
    subscriber.connect()
    subscriber.start_consuming(drain=True)
    assert len(handler.events) == 1


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, however the tests were started."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_ctrl_c_lets_the_handler_finish_and_ends(
    default_broker: str, rabbitmq: RabbitmqNode, broker_vhost: str
) -> None:
    handled: list[DomainEvent] = []

    def handle(event: DomainEvent) -> None:
        _thread.interrupt_main()
        handled.append(event)

    subscriber = Subscriber()
    subscriber.register(handle, "interrupted", ["#"])
    publish_domain_event("test.interrupt", {})
    subscriber.start_consuming()
    assert len(handled) == 1
    assert rabbitmq.message_count(broker_vhost, "interrupted") == 0
