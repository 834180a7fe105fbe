"""How soon what was lost is tried again, and how loudly that is told."""

import logging

import pytest

from domain_event_broker.errors import AccessRefused, BrokerUnavailable
from domain_event_broker.settings import Settings
from domain_event_broker.transports.amqp import pacing
from domain_event_broker.transports.amqp.pacing import Pacing

SETTINGS = Settings(reconnect_delay_seconds=1, max_reconnect_delay_seconds=8)
ATTEMPTS = 6


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pacing, "time", clock)
    return clock


def test_pauses_double_up_to_the_longest() -> None:
    paced = Pacing(SETTINGS)
    for number in range(ATTEMPTS):
        longest = min(2**number, 8)
        assert longest / 2 <= paced.delay_seconds() <= longest


def test_what_breaks_as_soon_as_it_works_is_not_hurried(clock: Clock) -> None:
    paced = Pacing(SETTINGS)
    for number in range(ATTEMPTS):
        paced.works()
        clock.now += pacing.STEADY_SECONDS / 2
        paced.lost()
        assert paced.hurries() == (number == 0)
        assert paced.delay_seconds() >= min(2**number, 8) / 2


def test_after_a_steady_time_all_begins_anew(clock: Clock) -> None:
    paced = Pacing(SETTINGS)
    for _ in range(ATTEMPTS):
        paced.delay_seconds()
    paced.works()
    clock.now += pacing.STEADY_SECONDS
    paced.lost()
    assert paced.hurries()


def test_the_same_is_told_once_until_it_works() -> None:
    paced = Pacing(SETTINGS)
    refused, away = AccessRefused("no"), BrokerUnavailable("away")
    levels = [paced.level_of(error) for error in (refused, refused, away, away)]
    assert levels == [logging.ERROR, logging.INFO, logging.WARNING, logging.INFO]
    assert paced.works()
    assert not paced.works()
    assert paced.level_of(away) == logging.WARNING
