"""`Subscriber.register`: its arguments, and what they mean for the queue."""

import inspect
from typing import Any

import pytest

import domain_event_broker.settings as settings_module
from domain_event_broker import Backoff, DomainEvent, Subscriber, publish_domain_event
from domain_event_broker.errors import (
    HandlerError,
    SettingsError,
    TopologyMismatch,
    UnknownQueue,
)
from domain_event_broker.subscribing import make_subscription
from domain_event_broker.transports.base import Subscription
from domain_event_broker.transports.memory import MemoryConsumer
from tests.support.waiting import wait_until

from .helpers import (
    Background,
    Recorder,
    dead_letters,
    drain,
    raising,
    subscriber,
)

GOOD: dict[str, Any] = {
    "name": "handler",
    "binding_keys": ["user.*", "#"],
    "dead_letter": None,
    "durable": True,
    "exclusive": False,
    "auto_delete": False,
    "max_retries": 0,
}


def nothing(event: DomainEvent) -> None:
    pass


def test_the_arguments_are_those_of_3_x_in_its_order() -> None:
    parameters = inspect.signature(Subscriber.register).parameters.values()

    names = [each.name for each in parameters if each.kind is not each.KEYWORD_ONLY]
    assert names == ["self", "handler", *GOOD]


def test_the_subscription_holds_what_was_asked_for() -> None:
    assert make_subscription(**GOOD) == Subscription(
        name="handler",
        binding_keys=("user.*", "#"),
        dead_letter=True,
        durable=True,
        exclusive=False,
        auto_delete=False,
        retries=False,
    )
    assert make_subscription(**{**GOOD, "max_retries": 1}).retries


@pytest.mark.parametrize("max_retries", [0, 1])
def test_delays_work_from_the_start_where_a_policy_retries(max_retries: int) -> None:
    backoff = Backoff(max_retries=max_retries)

    assert make_subscription(**GOOD, backoff=backoff).retries is bool(max_retries)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_retries": 1, "backoff": Backoff()}, "say it once"),
        ({"backoff": Backoff}, "must be a Backoff such as Backoff()"),
        ({"backoff": 5}, "not 5"),
    ],
    ids=["twice", "class", "number"],
)
def test_retries_are_said_once_and_by_a_backoff(
    url: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(HandlerError) as caught:
        Subscriber(url).register(nothing, "handler", ["#"], **options)

    assert words in str(caught.value)
    with pytest.raises(UnknownQueue):
        dead_letters(url)


@pytest.mark.parametrize(
    ("exclusive", "auto_delete", "kept"),
    [(False, False, True), (True, False, False), (False, True, False), (True, True, False)],
)
def test_failed_events_are_kept_by_default_where_the_queue_lasts(
    exclusive: bool, auto_delete: bool, kept: bool
) -> None:
    options = {**GOOD, "exclusive": exclusive, "auto_delete": auto_delete}

    assert make_subscription(**options).dead_letter is kept
    assert make_subscription(**{**options, "dead_letter": True}).dead_letter is True
    assert make_subscription(**{**options, "dead_letter": False}).dead_letter is False


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": ""}, "non-empty string"),
        ({"name": "amq.mine"}, "reserves"),
        ({"name": "n" * 253}, "at most 252"),
        ({"binding_keys": "user.*"}, "single string"),
        ({"binding_keys": []}, "at least one"),
        ({"binding_keys": ["user*"]}, "would match itself only"),
        ({"max_retries": -1}, "whole number from 0, not -1"),
        ({"max_retries": 1.0}, "whole number from 0, not 1.0"),
        ({"max_retries": True}, "whole number from 0, not True"),
        ({"max_retries": None}, "whole number from 0, not None"),
        ({"max_retries": "3"}, "whole number from 0, not '3'"),
        ({"handler": None}, "is not callable"),
        ({"handler": "dotted.path"}, "is not callable"),
    ],
)
@pytest.mark.parametrize("broker", [True, False], ids=["a broker", "no broker"])
def test_a_bad_argument_is_refused_with_or_without_a_broker(
    url: str, changes: dict[str, Any], reason: str, broker: bool
) -> None:
    subscribed = Subscriber(url if broker else None)
    with pytest.raises(HandlerError, match=reason) as caught:
        subscribed.register(**{"handler": nothing, **GOOD, **changes})

    assert isinstance(caught.value, ValueError)
    subscribed.register(nothing, "handler", ["#"])


def test_a_name_is_registered_once(url: str) -> None:
    subscribed = subscriber(url, nothing)
    with pytest.raises(HandlerError, match="'handler' is registered already"):
        subscribed.register(nothing, "handler", ["other"])


def test_a_registration_that_the_broker_refused_may_be_tried_again(url: str) -> None:
    owner = subscriber(url, nothing, exclusive=True)
    handler = Recorder()
    other = Subscriber(url)
    with pytest.raises(TopologyMismatch):
        other.register(handler, "handler", ["#"])
    owner.disconnect()
    other.register(handler, "handler", ["#"])
    publish_domain_event("a.b", 1, connection_settings=url)
    drain(other)

    assert handler.data == [1]


def test_registering_is_enough_for_events_to_be_kept(url: str) -> None:
    handler = Recorder()
    subscribed = subscriber(url, handler, binding_keys=["user.*"])
    publish_domain_event("user.registered", 1, connection_settings=url)
    publish_domain_event("order.placed", 2, connection_settings=url)
    drain(subscribed)

    assert handler.data == [1]


def test_each_handler_gets_its_own_copy(url: str) -> None:
    handlers = {name: Recorder() for name in ("one", "two", "three")}
    subscribed = Subscriber(url)
    for name, handler in handlers.items():
        subscribed.register(handler, name, ["user.*"])
    publish_domain_event("user.registered", 1, connection_settings=url)
    drain(subscribed)

    assert [handler.data for handler in handlers.values()] == [[1]] * 3


def test_a_handler_may_be_added_while_others_consume(url: str) -> None:
    first, second = Recorder(), Recorder()
    subscribed = subscriber(url, first, "first")
    keeper = subscriber(url, nothing, "second")
    for number in range(20):
        publish_domain_event("a.b", number, connection_settings=url)
    keeper.disconnect()
    with Background(subscribed):
        subscribed.register(second, "second", ["#"])
        wait_until(lambda: len(second.events) == 20)

    assert len(first.events) == 20


def test_an_event_may_arrive_before_registering_its_handler_is_over(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscriber(url, nothing, "late").disconnect()
    publish_domain_event("a.b", 1, connection_settings=url)
    late = Recorder()
    subscribed = subscriber(url, nothing, "early")
    subscribe = MemoryConsumer.subscribe

    def subscribe_slowly(self: MemoryConsumer, subscription: Subscription) -> None:
        subscribe(self, subscription)
        wait_until(lambda: late.events or background.error)

    with Background(subscribed) as background:
        monkeypatch.setattr(MemoryConsumer, "subscribe", subscribe_slowly)
        subscribed.register(late, "late", ["#"])

    assert background.error is None
    assert late.data == [1]


def test_a_lasting_handler_has_dead_letters_and_an_exclusive_one_has_none(url: str) -> None:
    failing = Recorder(raising(ValueError()))
    drained = Subscriber(url)
    drained.register(failing, "lasting", ["#"])
    drained.register(failing, "exclusive", ["#"], exclusive=True)
    drained.register(failing, "auto-delete", ["#"], auto_delete=True)
    drained.register(failing, "asked", ["#"], auto_delete=True, dead_letter=True)
    publish_domain_event("a.b", {}, connection_settings=url)
    drain(drained)

    assert len(dead_letters(url, "lasting")) == 1
    assert len(dead_letters(url, "asked")) == 1
    for name in ("exclusive", "auto-delete"):
        with pytest.raises(UnknownQueue, match=name):
            dead_letters(url, name)


def test_a_subscriber_listens_to_its_exchange_alone(url: str) -> None:
    handler = Recorder()
    subscribed = Subscriber(url, "audit", "topic")
    subscribed.register(handler, "handler", ["#"])
    publish_domain_event("a.b", 1, connection_settings=url)
    publish_domain_event("a.b", 2, connection_settings={"URL": url, "EXCHANGE": "audit"})
    drain(subscribed)

    assert handler.data == [2]


def test_the_default_broker_is_used_where_none_is_named(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings_module, "BROKER", {"URL": url, "CRASH_ATTEMPTS": 7})
    subscribed = Subscriber()

    assert subscribed.settings is not None
    assert subscribed.settings.url == url
    assert subscribed.settings.crash_attempts == 7


def test_bad_settings_are_refused_when_the_subscriber_is_made(url: str) -> None:
    with pytest.raises(SettingsError):
        Subscriber({"URL": url, "PREFETCH": 0})
    with pytest.raises(SettingsError):
        Subscriber(url, exchange_type="x-random")


def test_without_a_broker_nothing_is_received_and_nothing_waits() -> None:
    subscribed = Subscriber(None)
    subscribed.register(nothing, "handler", ["#"])
    subscribed.start_consuming()
    subscribed.stop_consuming()
    subscribed.disconnect()
