"""`replay_event` and `replay_all` on the broker in memory."""

from collections.abc import Callable
from typing import Any

import pytest

import domain_event_broker.settings as settings_module
from domain_event_broker import (
    DISCARD,
    LEAVE,
    RETRY,
    DomainEvent,
    replay_all,
    replay_event,
)
from domain_event_broker.errors import InvalidReplayAction, ReplayError, UnknownQueue
from domain_event_broker.messages import Message

from .helpers import Recorder, dead_letters, fail_some, handle_rest, subscriber


class Callback:
    """A replay callback that notes what it is called with."""

    def __init__(self, decide: Callable[[int], Any]) -> None:
        self.calls: list[dict[str, Any]] = []
        self._decide = decide

    def __call__(self, **keywords: Any) -> Any:
        self.calls.append(keywords)
        return self._decide(DomainEvent.from_json(keywords["body"]).data)

    @property
    def offered(self) -> list[Any]:
        return [DomainEvent.from_json(call["body"]).data for call in self.calls]


def test_the_actions_are_those_of_3_x() -> None:
    assert (RETRY, LEAVE, DISCARD) == ("retry", "leave", "discard")


def test_all_dead_letters_are_replayed_unless_told_otherwise(url: str) -> None:
    fail_some(url, 3)

    assert replay_all("handler", connection_settings=url) == 0
    assert handle_rest(url) == [0, 1, 2]
    assert dead_letters(url) == []


def test_one_dead_letter_is_replayed_and_the_rest_counted(url: str) -> None:
    fail_some(url, 3)

    assert replay_event("handler", connection_settings=url) == 2
    assert handle_rest(url) == [0]
    assert len(dead_letters(url)) == 2


@pytest.mark.parametrize("replay", [replay_event, replay_all])
def test_without_dead_letters_nothing_is_left(url: str, replay: Callable[..., int]) -> None:
    fail_some(url, 0)
    callback = Callback(lambda data: RETRY)

    assert replay("handler", callback, url) == 0
    assert callback.calls == []


@pytest.mark.parametrize(
    ("action", "left", "handled_then"), [(RETRY, 2, [0]), (LEAVE, 3, []), (DISCARD, 2, [])]
)
def test_each_action_on_one(url: str, action: str, left: int, handled_then: list[int]) -> None:
    fail_some(url, 3)

    assert replay_event("handler", lambda **_: action, url) == left
    assert len(dead_letters(url)) == left
    assert handle_rest(url) == handled_then


def test_each_dead_letter_is_offered_once_and_decided_on_by_itself(url: str) -> None:
    fail_some(url, 9)
    callback = Callback(lambda data: [RETRY, LEAVE, DISCARD][data % 3])

    assert replay_all("handler", callback, url) == 3
    assert sorted(callback.offered) == list(range(9))
    assert handle_rest(url) == [0, 3, 6]
    again = Callback(lambda data: LEAVE)
    assert replay_all("handler", again, url) == 3
    assert sorted(again.offered) == [1, 4, 7]


def test_more_than_fit_into_one_look_are_offered_once_each(url: str) -> None:
    fail_some(url, 250)
    callback = Callback(lambda data: LEAVE)

    assert replay_all("handler", callback, url) == 250
    assert sorted(callback.offered) == list(range(250))
    assert len(dead_letters(url)) == 250


def test_a_callback_is_told_what_3_x_told_it(url: str) -> None:
    events = fail_some(url, 3)
    callback = Callback(lambda data: LEAVE)
    replay_all("handler", callback, url)

    assert [set(call) for call in callback.calls] == [{"frame", "header", "body"}] * 3
    first = callback.calls[0]
    assert isinstance(first["body"], bytes)
    assert DomainEvent.from_json(first["body"]) == events[0]
    assert first["frame"].routing_key == "fails.now"
    assert [call["frame"].message_count for call in callback.calls] == [2, 1, 0]
    assert isinstance(first["header"], Message)
    assert first["header"].message_id == events[0].uuid_string
    assert first["header"].headers["deb-reason"] == "error"


@pytest.mark.parametrize("action", [None, "", "replay", "RETRY", True, 1, object()])
@pytest.mark.parametrize("replay", [replay_event, replay_all])
def test_an_unknown_action_is_an_error_and_nothing_is_lost(
    url: str, replay: Callable[..., int], action: Any
) -> None:
    fail_some(url, 3)
    with pytest.raises(InvalidReplayAction, match="must return RETRY, LEAVE or DISCARD") as caught:
        replay("handler", lambda **_: action, url)

    assert isinstance(caught.value, ReplayError)
    assert isinstance(caught.value, ValueError)
    assert len(dead_letters(url)) == 3
    assert handle_rest(url) == []


@pytest.mark.parametrize("error", [RuntimeError("mine"), KeyboardInterrupt()], ids=repr)
def test_a_callback_that_raises_ends_it_and_what_is_undecided_stays(
    url: str, error: BaseException
) -> None:
    def fail_on_two(data: int) -> str:
        if data == 2:
            raise error
        return DISCARD

    fail_some(url, 5)
    with pytest.raises(type(error)):
        replay_all("handler", Callback(fail_on_two), url)

    assert len(dead_letters(url)) == 3


@pytest.mark.parametrize("replay", [replay_event, replay_all])
def test_a_handler_without_dead_letters_is_unknown(url: str, replay: Callable[..., int]) -> None:
    subscriber(url, Recorder(), "kept-nothing", dead_letter=False)
    for name in ("nobody", "kept-nothing"):
        with pytest.raises(UnknownQueue, match=name) as caught:
            replay(name, connection_settings=url)
        assert isinstance(caught.value, LookupError)


@pytest.mark.parametrize("replay", [replay_event, replay_all])
def test_the_default_broker_is_used_where_none_is_named(
    url: str, replay: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_some(url, 1)
    monkeypatch.setattr(settings_module, "BROKER", url)

    assert replay("handler") == 0
    assert handle_rest(url) == [0]


@pytest.mark.parametrize("replay", [replay_event, replay_all])
def test_without_a_broker_nothing_is_left(replay: Callable[..., int]) -> None:
    assert replay("handler", connection_settings=None) == 0
