"""A relay claims the next batch while the broker confirms one, and may lose it again."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from domain_event_broker.django import relaying
from domain_event_broker.django.sending import outbox
from domain_event_broker.django.stopping import StopSign
from domain_event_broker.errors import BrokerUnavailable
from domain_event_broker.messages import Message
from domain_event_broker.transports.base import Outcome, PublishResult

from .marks import both_databases
from .relays import a_relay
from .rows import DEFAULT, ENDED, LONG, put, there
from .scripted import CONFIRMED, Answer, ScriptedTransport

pytestmark = both_databases

AWAY = PublishResult(Outcome.UNKNOWN, BrokerUnavailable("It is away."))


@pytest.fixture(autouse=True)
def batches_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relaying, "BATCH", 3)


def leased() -> int:
    return outbox(DEFAULT).leased().count()


def confirming(act_at_first: Callable[[], object]) -> Answer:
    """Confirms each, and does something when the first comes."""

    def answer(message: Message) -> PublishResult:
        if message.message_id == "a":
            act_at_first()
        return CONFIRMED

    return answer


def test_the_next_batch_is_held_while_one_is_confirmed(scripted: ScriptedTransport) -> None:
    held: list[int] = []
    put(*"abcdefg")

    def answer(message: Message) -> PublishResult:
        held.append(leased())
        return CONFIRMED

    scripted.answer = answer
    with a_relay() as relay:
        assert relay.sweep().sent == 7

    assert held == [6, 6, 6, 4, 4, 4, 1]
    assert scripted.batches == [list("abc"), list("def"), list("g")]
    assert there() == []


def test_not_beyond_what_it_was_told_to_send(scripted: ScriptedTransport) -> None:
    held: list[int] = []
    put(*"abcdef")
    scripted.answer = confirming(lambda: held.append(leased()))
    with a_relay() as relay:
        assert relay.sweep(most=3).sent == 3

    assert held == [3]
    assert leased() == 0


def test_it_is_given_back_where_the_broker_takes_no_more(scripted: ScriptedTransport) -> None:
    put(*"abcdef")
    scripted.answer = lambda message: AWAY
    with a_relay() as relay:
        assert relay.sweep().outage is AWAY.error

    assert scripted.published == list("abc")
    assert leased() == 0
    assert there() == list("abcdef")


def test_it_is_given_back_where_the_relay_is_to_end(scripted: ScriptedTransport) -> None:
    stop = StopSign()
    put(*"abcdef")
    scripted.answer = confirming(stop.set)
    with a_relay(stop=stop) as relay:
        assert relay.sweep().sent == 3

    assert leased() == 0
    assert there() == list("def")


def test_it_is_not_sent_once_its_leases_may_have_ended(
    scripted: ScriptedTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after the process was stopped: somebody else has it, and sends it."""
    late_seconds = [0.0]
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + late_seconds[0])
    put(*"abcdef")

    def be_late() -> None:
        monkeypatch.setattr(relaying, "time", clock)
        late_seconds[0] = LONG
        following = outbox(DEFAULT).filter(event_id__in="def")
        assert following.renew(ENDED) == 3
        assert len(outbox(DEFAULT).claim(10, "somebody else", LONG)) == 3

    scripted.answer = confirming(be_late)
    with a_relay() as relay:
        assert relay.sweep().sent == 3

    assert scripted.published == list("abc")
    assert leased() == 3
