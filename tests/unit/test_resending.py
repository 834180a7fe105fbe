"""Sending again what the broker refused or left unanswered, until its time is over.

The broker in memory neither refuses nor is silent, so a transport does that here on demand.
"""

from collections.abc import Sequence
from typing import ClassVar

import pytest

from domain_event_broker import Outcome, PublishResult
from domain_event_broker.errors import BrokerUnavailable, PublishRefused, PublishUnconfirmed
from domain_event_broker.messages import Message
from domain_event_broker.publishing import send
from domain_event_broker.settings import Settings
from domain_event_broker.transports import SCHEMES, close_all
from domain_event_broker.transports.base import (
    Capabilities,
    Consumer,
    DeadLetters,
    Transport,
)

CONFIRMED, UNROUTABLE, REFUSED, UNKNOWN = (
    PublishResult(Outcome.CONFIRMED),
    PublishResult(Outcome.UNROUTABLE),
    PublishResult(Outcome.REFUSED, PublishRefused("no")),
    PublishResult(Outcome.UNKNOWN),
)


class MoodyTransport(Transport):
    """Answers each message by what `moods` holds for its routing key, one after the other."""

    capabilities: ClassVar[Capabilities] = Capabilities(persistent=False, counts_crashes=False)
    moods: ClassVar[dict[str, list[PublishResult]]] = {}
    sent: ClassVar[list[list[str]]] = []
    timeouts: ClassVar[list[float]] = []

    def publish(self, messages: Sequence[Message], timeout_seconds: float) -> list[PublishResult]:
        self.timeouts.append(timeout_seconds)
        self.sent.append([message.routing_key for message in messages])
        return [self._answer(self.moods[message.routing_key]) for message in messages]

    def _answer(self, moods: list[PublishResult]) -> PublishResult:
        return moods.pop(0) if len(moods) > 1 else moods[0]

    def requeue(
        self, handler_name: str, messages: Sequence[Message], timeout_seconds: float
    ) -> list[PublishResult]:
        raise NotImplementedError

    def consumer(self) -> Consumer:
        raise NotImplementedError

    def dead_letters(self, handler_name: str) -> DeadLetters:
        raise NotImplementedError

    def close(self, timeout_seconds: float = 5.0) -> None:
        pass


@pytest.fixture(autouse=True)
def _moody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCHEMES, "moody", (__name__, "MoodyTransport"))
    MoodyTransport.moods.clear()
    MoodyTransport.sent.clear()
    MoodyTransport.timeouts.clear()
    close_all()


def send_with(publish_timeout: float, **moods: list[PublishResult]) -> list[PublishResult]:
    MoodyTransport.moods.update(moods)
    messages = [Message(key, b"{}", message_id=f"id-{key}") for key in moods]
    settings = Settings(
        url="moody://x", publish_timeout_seconds=publish_timeout, unroutable="ignore"
    )
    return send(messages, settings)


def test_what_was_confirmed_or_is_unroutable_is_sent_once() -> None:
    results = send_with(5, a=[CONFIRMED], b=[UNROUTABLE])

    assert results == [CONFIRMED, UNROUTABLE]
    assert MoodyTransport.sent == [["a", "b"]]


@pytest.mark.parametrize("bad", [REFUSED, UNKNOWN], ids=["refused", "unknown"])
def test_what_was_not_taken_is_sent_again_alone(bad: PublishResult) -> None:
    results = send_with(5, a=[bad, bad, CONFIRMED], b=[CONFIRMED], c=[bad, UNROUTABLE])

    assert results == [CONFIRMED, CONFIRMED, UNROUTABLE]
    assert MoodyTransport.sent == [["a", "b", "c"], ["a", "c"], ["a"]]


def test_what_stays_refused_says_so_and_the_others_keep_their_outcome() -> None:
    first, second = send_with(0.2, a=[REFUSED], b=[CONFIRMED])

    assert first == REFUSED
    assert second == CONFIRMED
    assert len(MoodyTransport.sent) > 1
    assert all(0 <= timeout <= 0.2 for timeout in MoodyTransport.timeouts)


def test_what_stays_unanswered_is_unconfirmed() -> None:
    (result,) = send_with(0.1, a=[UNKNOWN])

    assert result.outcome is Outcome.UNKNOWN
    assert isinstance(result.error, PublishUnconfirmed)
    assert "id-a" in str(result.error)
    assert "within 0.1 s" in str(result.error)


def test_the_transports_own_reason_is_kept() -> None:
    reason = BrokerUnavailable("nobody there")
    (result,) = send_with(0.1, a=[PublishResult(Outcome.UNKNOWN, reason)])

    assert result.error is reason


def test_a_confirm_renews_the_time() -> None:
    results = send_with(5, a=[*[UNKNOWN] * 4, CONFIRMED], b=[*[UNKNOWN] * 5, CONFIRMED])

    assert results == [CONFIRMED] * 2
    *waiting, after_a_confirm = MoodyTransport.timeouts
    assert waiting == sorted(waiting, reverse=True)
    assert after_a_confirm > waiting[-1]
