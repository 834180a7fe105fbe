"""`Backoff`: which errors, how often, and the arithmetic of its delays."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from domain_event_broker import Backoff
from domain_event_broker.errors import HandlerError
from domain_event_broker.retrying import MAX_DELAY_SECONDS

RETRIES = range(1, 8)


class Gone(ConnectionError):
    pass


def delays(backoff: Backoff) -> list[float]:
    return [backoff.delay_seconds(number) for number in RETRIES]


def test_delays_grow_by_a_factor_up_to_their_limit() -> None:
    backoff = Backoff(base=2, factor=3, max_delay=100, jitter=0)

    assert delays(backoff) == [2, 6, 18, 54, 100, 100, 100]


def test_a_factor_of_one_keeps_them_equal() -> None:
    backoff = Backoff(base=30, factor=1, jitter=0)

    assert delays(backoff) == [30] * 7
    assert backoff.delay_seconds(10**400) == 30


def test_without_a_base_there_is_no_wait() -> None:
    assert delays(Backoff(base=0)) == [0] * 7
    assert Backoff(base=0).delay_seconds(10**6) == 0


@pytest.mark.parametrize("number", [60, 2_000, 10**9, 10**400])
def test_a_delay_beyond_any_float_is_the_longest_one(number: int) -> None:
    assert Backoff(jitter=0).delay_seconds(number) == 3600
    longest = Backoff(max_delay=MAX_DELAY_SECONDS, factor=1000, jitter=0)
    assert longest.delay_seconds(number) == MAX_DELAY_SECONDS


@pytest.mark.parametrize("number", [0, -1])
def test_the_first_retry_is_number_one(number: int) -> None:
    assert Backoff(base=5, jitter=0).delay_seconds(number) == 5


def test_jitter_adds_and_subtracts_up_to_its_part() -> None:
    backoff = Backoff(base=100, max_delay=100_000, jitter=0.2)
    drawn = {backoff.delay_seconds(1) for _ in range(500)}

    assert 80 <= min(drawn) < 100 < max(drawn) <= 120
    assert len(drawn) > 400


def test_jitter_exceeds_no_limit_and_still_spreads_there() -> None:
    backoff = Backoff(base=100, max_delay=100, jitter=0.2)
    drawn = {backoff.delay_seconds(1) for _ in range(500)}

    assert 80 <= min(drawn) < max(drawn) <= 100
    assert len(drawn) > 400


def test_all_jitter_may_leave_no_delay_but_no_negative_one() -> None:
    backoff = Backoff(base=1, jitter=1)

    assert all(0 <= backoff.delay_seconds(1) <= 2 for _ in range(500))


def test_every_error_is_retried_unless_told() -> None:
    backoff = Backoff()

    assert backoff.wants(ValueError())
    assert not backoff.wants(SystemExit())
    assert not backoff.gives_up(ValueError())


def test_what_is_given_up_is_not_wanted_although_it_was_named() -> None:
    backoff = Backoff(on=OSError, giving_up=(Gone, KeyError))

    assert backoff.wants(ConnectionError())
    assert not backoff.wants(Gone())
    assert not backoff.wants(KeyError())
    assert not backoff.wants(ValueError())
    assert backoff.gives_up(Gone())
    assert not backoff.gives_up(ValueError())


def test_nothing_may_be_wanted_but_what_asks_for_itself() -> None:
    assert not Backoff(on=()).wants(ValueError())


def test_equal_policies_are_equal_and_cannot_be_changed() -> None:
    backoff = Backoff(base=2, on=OSError)

    assert backoff == Backoff(base=2.0, on=(OSError,))
    assert hash(backoff) == hash(Backoff(base=2.0, on=(OSError,)))
    assert backoff != Backoff(base=3, on=OSError)
    assert backoff.on == (OSError,)
    with pytest.raises(dataclasses.FrozenInstanceError):
        backoff.base = 3  # type: ignore[misc]


def test_the_arguments_are_named() -> None:
    with pytest.raises(TypeError):
        Backoff(5)  # type: ignore[call-arg]


HUGE = 10**5_000
SECONDS = "must be a number of seconds from 0 to 2592000, not "
BAD: list[tuple[dict[str, Any], str]] = [
    *(({"max_retries": each}, "max_retries must be a whole number") for each in (-1, 1.5, None)),
    *(({"max_retries": each}, "max_retries must be a whole number") for each in ("3", True)),
    *(({"base": each}, f"base {SECONDS}") for each in (-1, 2_592_001, float("nan"), HUGE, True)),
    *(({"max_delay": each}, f"max_delay {SECONDS}") for each in (-1, 2_592_001, "1", None)),
    *(({"factor": each}, "factor must be a number from 1 to 1000") for each in (0.5, 1001, HUGE)),
    *(({"factor": each}, "factor must be a number from 1") for each in (float("inf"), "2")),
    *(({"jitter": each}, "jitter must be a number from 0 to 1") for each in (-0.1, 1.1, None)),
    ({"base": 7200}, "max_delay must not be less than its base"),
    *(({name: [OSError]}, f"{name} must be an exception class") for name in ("on", "giving_up")),
    *(({"on": each}, "or a tuple of such, not ") for each in (OSError(), (OSError, int), None)),
]


@pytest.mark.parametrize(("options", "words"), BAD, ids=[words for _, words in BAD])
def test_what_is_out_of_range_is_refused_with_its_limits(
    options: dict[str, Any], words: str
) -> None:
    with pytest.raises(HandlerError) as caught:
        Backoff(**options)

    assert isinstance(caught.value, ValueError)
    assert str(caught.value).startswith("Backoff's ")
    assert words in str(caught.value)
