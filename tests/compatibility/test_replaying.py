"""Dead letters and their replay as in 3.x, with counts that are right."""

from __future__ import annotations

import json
from typing import Any

import pytest

import domain_event_broker.settings as settings_module
from domain_event_broker import (
    DISCARD,
    LEAVE,
    RETRY,
    DomainEvent,
    Subscriber,
    publish_domain_event,
    replay_all,
    replay_event,
)
from domain_event_broker.errors import InvalidReplayAction
from tests.support.rabbitmq import RabbitmqNode
from tests.support.raw_amqp import take_all, take_one


class Failing:
    """Fails until it is repaired; notes what it then handled."""

    def __init__(self) -> None:
        self.is_repaired = False
        self.handled: list[DomainEvent] = []

    def __call__(self, event: DomainEvent) -> None:
        if not self.is_repaired:
            raise ValueError(f"cannot handle {event.routing_key}")
        self.handled.append(event)


class Failed:
    """A handler with three dead letters."""

    def __init__(self) -> None:
        self.handler = Failing()
        self.subscriber = Subscriber()
        self.subscriber.register(self.handler, "failing", ["user.*"], dead_letter=True)
        self.events = [publish_domain_event("user.left", {"n": n}, f"{n}") for n in range(3)]
        self.subscriber.start_consuming(drain=True)
        self.handler.is_repaired = True

    def handled(self) -> list[DomainEvent]:
        self.subscriber.start_consuming(drain=True)
        return self.handler.handled


@pytest.fixture
def failed(default_broker: str) -> Failed:
    return Failed()


def test_a_failed_event_waits_in_the_queue_named_dl(failed: Failed, default_broker: str) -> None:
    messages = take_all(default_broker, "failing-dl")
    assert [DomainEvent.from_json(m.body) for m in messages] == failed.events


def test_one_is_replayed_and_the_rest_is_counted(failed: Failed) -> None:
    assert replay_event("failing") == 2
    assert failed.handled() == failed.events[:1]
    assert failed.handler.handled[0].retries == 0


def test_all_are_replayed(failed: Failed) -> None:
    assert replay_all("failing") == 0
    assert failed.handled() == failed.events


def test_none_are_left_to_replay(failed: Failed) -> None:
    assert [replay_event("failing") for _ in range(4)] == [2, 1, 0, 0]
    assert replay_all("failing") == 0
    assert len(failed.handled()) == 3


def test_the_callback_may_take_the_body_and_ignore_the_rest(failed: Failed) -> None:
    def decide(body: bytes, **kwargs: Any) -> str:
        return RETRY if json.loads(body)["data"]["n"] == 1 else DISCARD

    assert replay_all("failing", decide) == 0
    assert failed.handled() == failed.events[1:2]


def test_the_callback_sees_frame_and_header(failed: Failed) -> None:
    seen: list[tuple[str, int, str]] = []

    def decide(frame: Any, header: Any, body: bytes) -> str:
        seen.append((frame.routing_key, frame.message_count, header.message_id))
        assert isinstance(header.headers, dict)
        return RETRY

    assert replay_all("failing", message_callback=decide) == 0
    identities = [event.uuid_string for event in failed.events]
    assert seen == [("user.left", 2 - n, identities[n]) for n in range(3)]


def test_the_header_tells_why_it_failed(failed: Failed) -> None:
    reasons: list[str] = []

    def decide(header: Any, **kwargs: Any) -> str:
        reasons.append(header.headers["deb-error-message"])
        return LEAVE

    replay_event("failing", decide)
    assert reasons == ["cannot handle user.left"]


def test_discarded_ones_are_gone(failed: Failed, default_broker: str) -> None:
    assert replay_event("failing", lambda **kwargs: DISCARD) == 2
    assert failed.handled() == []
    assert len(take_all(default_broker, "failing-dl")) == 2


def test_those_left_are_counted_and_offered_once(failed: Failed, default_broker: str) -> None:
    offered: list[int] = []

    def leave(body: bytes, **kwargs: Any) -> str:
        offered.append(json.loads(body)["data"]["n"])
        return LEAVE

    assert replay_event("failing", leave) == 3
    offered.clear()
    assert replay_all("failing", leave) == 3
    assert sorted(offered) == [0, 1, 2]
    assert failed.handled() == []
    assert len(take_all(default_broker, "failing-dl")) == 3


@pytest.mark.parametrize("answer", ["nonsense", None, True, ""])
def test_another_answer_is_refused_and_the_dead_letter_stays(
    failed: Failed, default_broker: str, answer: Any
) -> None:
    with pytest.raises(InvalidReplayAction):
        replay_event("failing", lambda **kwargs: answer)
    assert failed.handled() == []
    assert len(take_all(default_broker, "failing-dl")) == 3


def test_the_broker_may_be_named(failed: Failed, default_broker: str) -> None:
    settings_module.BROKER = "amqp://guest:guest@127.0.0.1:1/"
    assert replay_event("failing", connection_settings=default_broker) == 2
    assert replay_all("failing", lambda **kwargs: DISCARD, default_broker) == 0


@pytest.mark.parametrize("replay", [replay_event, replay_all])
def test_without_a_broker_there_is_nothing_to_replay(replay: Any) -> None:
    assert replay("failing", connection_settings=None) == 0
    settings_module.BROKER = None
    assert replay("failing") == 0


def test_a_handler_without_failures_has_nothing_to_replay(default_broker: str) -> None:
    subscriber = Subscriber()
    subscriber.register(Failing(), "fine", ["user.*"], dead_letter=True)
    assert replay_event("fine") == 0
    assert replay_all("fine") == 0
    subscriber.disconnect()


def test_an_event_that_exhausts_its_retries_is_kept_only_if_asked(
    default_broker: str, rabbitmq: RabbitmqNode, broker_vhost: str
) -> None:
    subscriber = Subscriber()
    subscriber.register(Failing(), "keeps", ["a.b"], dead_letter=True)
    subscriber.register(Failing(), "drops", ["a.b"], dead_letter=False)
    event = publish_domain_event("a.b", {})
    subscriber.start_consuming(drain=True)
    assert DomainEvent.from_json(take_one(default_broker, "keeps-dl").body) == event
    assert rabbitmq.queue(broker_vhost, "drops-dl") is None
    assert rabbitmq.message_count(broker_vhost, "drops") == 0
