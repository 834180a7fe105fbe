"""How many runs of handlers there may still be: never one too many, and none too few."""

import pytest

from domain_event_broker.allowance import Allowance
from tests.support.threads import at_once, start_thread
from tests.support.waiting import wait_until

from .helpers import LIMIT_SECONDS

AT_ONCE = 0.0


def test_without_a_number_there_is_always_one_more() -> None:
    allowance = Allowance(None)
    for _ in range(3):
        assert allowance.reserve(AT_ONCE)
        allowance.spend()

    assert not allowance.is_spent


@pytest.mark.parametrize("most", [0, 1, 3])
def test_so_many_can_be_reserved_and_are_spent(most: int) -> None:
    allowance = Allowance(most)
    for _ in range(most):
        assert not allowance.is_spent
        assert allowance.reserve(AT_ONCE)
    assert not allowance.reserve(AT_ONCE)
    for _ in range(most):
        assert not allowance.is_spent
        allowance.spend()

    assert allowance.is_spent
    assert not allowance.reserve(AT_ONCE)


def test_what_is_given_back_goes_to_who_waits() -> None:
    allowance = Allowance(1)
    assert allowance.reserve(AT_ONCE)
    reserved: list[bool] = []
    thread = start_thread(lambda: reserved.append(allowance.reserve(LIMIT_SECONDS)))
    wait_until(lambda: allowance._changed._waiters)  # type: ignore[attr-defined]
    allowance.give_back()
    thread.join(LIMIT_SECONDS / 2)

    assert reserved == [True]
    assert not allowance.is_spent


@pytest.mark.parametrize("end", ["spend", "close"])
def test_nobody_waits_for_what_cannot_come(end: str) -> None:
    allowance = Allowance(1)
    assert allowance.reserve(AT_ONCE)
    reserved: list[bool] = []
    threads = [
        start_thread(lambda: reserved.append(allowance.reserve(LIMIT_SECONDS))) for _ in range(3)
    ]
    wait_until(lambda: len(allowance._changed._waiters) == 3)  # type: ignore[attr-defined]
    getattr(allowance, end)()
    for thread in threads:
        thread.join(LIMIT_SECONDS / 2)

    assert reserved == [False] * 3


def test_threads_reserve_no_more_than_there_are() -> None:
    allowance = Allowance(5)

    def reserve() -> int:
        return sum(allowance.reserve(AT_ONCE) for _ in range(100))

    assert sum(at_once(*[reserve] * 4)) == 5
