"""How long a channel is kept that refuses events."""

from __future__ import annotations

import pytest

from domain_event_broker.transports.amqp.refusals import Refusals


class Clock:
    """The time, to be set: nobody wants to wait for a minute."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def refusals(clock: Clock) -> Refusals:
    return Refusals(clock)


def kept_seconds(refusals: Refusals, clock: Clock) -> float:
    """Have a channel refuse at once; return how long it is kept."""
    opened_at = clock.now
    refusals.opened()
    refusals.note()
    while not refusals.is_worn_out:
        clock.now += 1.0
    refusals.left()
    return clock.now - opened_at


def test_one_that_refuses_nothing_is_kept(refusals: Refusals, clock: Clock) -> None:
    refusals.opened()
    clock.now += 1e6
    assert not refusals.is_worn_out


def test_longer_each_time(refusals: Refusals, clock: Clock) -> None:
    kept = [kept_seconds(refusals, clock) for _ in range(2_000)]
    assert kept[:7] == [2, 4, 8, 16, 32, 60, 60]
    assert kept[-1] == 60


def test_not_after_one_that_was_long_of_use(refusals: Refusals, clock: Clock) -> None:
    for _ in range(3):
        kept_seconds(refusals, clock)
    refusals.opened()
    clock.now += 60.0
    refusals.note()
    assert refusals.is_worn_out
    refusals.left()
    assert kept_seconds(refusals, clock) == 4


def test_the_last_answers_are_not_waited_for_for_long(refusals: Refusals, clock: Clock) -> None:
    refusals.opened()
    refusals.note()
    clock.now += 2.0
    assert refusals.is_worn_out
    assert refusals.drain_seconds() == 1.0
    clock.now += 0.75
    assert refusals.drain_seconds() == 0.25
    clock.now += 0.25
    assert refusals.drain_seconds() == 0.0
    assert not refusals.is_worn_out
