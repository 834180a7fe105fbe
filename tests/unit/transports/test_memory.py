"""What the memory transport adds to the contract: names, exchanges, and being in one process."""

import secrets

import pytest

from domain_event_broker import DomainEvent, Outcome, Subscriber, publish_domain_events
from domain_event_broker.errors import TopologyMismatch, TransportClosed
from domain_event_broker.messages import Message
from domain_event_broker.settings import Settings
from domain_event_broker.transports import close_all, transport_for
from domain_event_broker.transports.base import Consumer, Delivery
from domain_event_broker.transports.memory import MemoryBroker

from ..helpers import Recorder, dead_letters, drain, publish_raw, received, subscriber, tap


def outcome(url: str, routing_key: str = "a.b", **settings: str) -> Outcome:
    (result,) = publish_domain_events(
        [DomainEvent(routing_key)], {"URL": url, "UNROUTABLE": "ignore", **settings}
    )
    return result.outcome


def test_it_keeps_nothing_beyond_the_process() -> None:
    capabilities = transport_for(Settings(url="memory://")).capabilities

    assert not capabilities.persistent
    assert capabilities.counts_crashes


def test_all_users_of_a_name_share_its_broker_whatever_their_settings(url: str) -> None:
    handler = Recorder()
    subscribed = Subscriber({"URL": url, "PREFETCH": 3})
    subscribed.register(handler, "handler", ["#"])

    assert outcome(url, SERVICE="shop") is Outcome.CONFIRMED
    drain(subscribed)
    assert len(handler.events) == 1


def test_another_name_is_another_broker(url: str) -> None:
    subscriber(url, Recorder())

    assert outcome(f"memory://{secrets.token_hex(8)}") is Outcome.UNROUTABLE


def test_what_waits_outlives_its_transport(url: str) -> None:
    handler = Recorder()
    subscriber(url, handler).disconnect()
    assert outcome(url) is Outcome.CONFIRMED
    close_all()
    drain(subscriber(url, handler))

    assert len(handler.events) == 1


@pytest.mark.parametrize(
    ("exchange_type", "delivered"),
    [
        ("topic", ["user.*", "user.registered"]),
        ("direct", ["user.registered"]),
        ("fanout", ["order.*", "user.*", "user.registered"]),
    ],
)
def test_exchanges_route_by_their_type(url: str, exchange_type: str, delivered: list[str]) -> None:
    subscribed = Subscriber(url, exchange_type=exchange_type)
    handlers = {key: Recorder() for key in ("order.*", "user.*", "user.registered")}
    for key, handler in handlers.items():
        subscribed.register(handler, key, [key])
    assert outcome(url, "user.registered", EXCHANGE_TYPE=exchange_type) is Outcome.CONFIRMED
    drain(subscribed)

    assert [key for key, handler in handlers.items() if handler.events] == delivered


def test_an_exchange_keeps_its_type(url: str) -> None:
    assert outcome(url) is Outcome.UNROUTABLE
    subscribed = Subscriber(url, exchange_type="direct")
    with pytest.raises(TopologyMismatch, match="of type 'topic' already, not 'direct'"):
        subscribed.register(Recorder(), "handler", ["#"])


def test_two_exchanges_of_a_broker_are_apart(url: str) -> None:
    subscriber(url, Recorder())

    assert outcome(url, EXCHANGE="other") is Outcome.UNROUTABLE
    assert outcome(url) is Outcome.CONFIRMED


def test_what_is_given_back_takes_its_place_again(url: str) -> None:
    consumer = tap(url)
    publish_raw(url, *[Message("a.b", b"", message_id=str(number)) for number in range(3)])
    delivery = consumer.receive(0)
    assert delivery is not None
    consumer.release(delivery)

    assert [message.message_id for message in received(consumer)] == ["0", "1", "2"]


class TestCrashes:
    def test_a_delivery_tells_of_the_consumers_that_left_it_unsettled(self, url: str) -> None:
        tap(url).close()
        publish_raw(url, Message("a.b", b""))
        for count in range(4):
            consumer = tap(url)
            assert received_one(consumer).crashes == count
            consumer.close()

    def test_what_is_given_back_keeps_its_count(self, url: str) -> None:
        dying, consumer = tap(url), tap(url)
        publish_raw(url, Message("a.b", b""))
        received_one(dying)
        dying.close()
        for _ in range(3):
            delivery = received_one(consumer)
            assert delivery.crashes == 1
            consumer.release(delivery)

    def test_a_retry_begins_anew(self, url: str) -> None:
        dying, consumer = tap(url), tap(url)
        publish_raw(url, Message("a.b", b""))
        received_one(dying)
        dying.close()
        delivery = received_one(consumer)
        consumer.retry(delivery, delivery.message, 0)

        assert received_one(consumer).crashes == 0

    def test_an_event_that_crashes_its_consumers_becomes_a_dead_letter(self, url: str) -> None:
        handler = Recorder()
        tap(url, "handler").close()
        publish_raw(url, Message("a.b", b"{}"), Message("a.b", b"{}"))
        for _ in range(Settings().crash_attempts):
            dying = tap(url, "handler")
            received_one(dying)
            dying.close()
        drain(subscriber(url, handler))

        assert len(handler.events) == 1
        (letter,) = dead_letters(url)
        assert letter.headers["deb-reason"] == "crashed"


def received_one(consumer: Consumer) -> Delivery:
    delivery = consumer.receive(0)
    assert delivery is not None
    return delivery


class FullDisk(Exception):
    """Nothing can be stored."""


@pytest.mark.parametrize("step", ["retry", "dead_letter"])
def test_what_cannot_be_stored_elsewhere_is_not_settled(
    url: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise FullDisk

    consumer = tap(url)
    publish_raw(url, Message("a.b", b""))
    delivery = received_one(consumer)
    moves = {
        "retry": lambda: consumer.retry(delivery, delivery.message, 0),
        "dead_letter": lambda: consumer.dead_letter(delivery, delivery.message),
    }
    with monkeypatch.context() as patched:
        patched.setattr(MemoryBroker, "put", fail)
        patched.setattr(MemoryBroker, "delay", fail)
        with pytest.raises(FullDisk):
            moves[step]()
    consumer.close()

    assert received_one(tap(url)).crashes == 1


def test_a_closed_consumer_cannot_be_started(url: str) -> None:
    consumer = tap(url)
    consumer.close()
    with pytest.raises(TransportClosed):
        consumer.start()
