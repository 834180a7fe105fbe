"""`Retry` and the arithmetic of delays."""

from decimal import Decimal
from typing import Any

import pytest

from domain_event_broker import Retry
from domain_event_broker.errors import EventError, InvalidRetry
from domain_event_broker.retrying import MAX_DELAY_SECONDS, backoff_seconds, check_delay, may_retry


def test_a_retry_waits_ten_seconds_unless_told() -> None:
    assert Retry().delay == 10.0


@pytest.mark.parametrize("delay", [0, 0.0, 0.001, 1, 25.5, MAX_DELAY_SECONDS])
def test_any_delay_up_to_thirty_days_is_taken(delay: float) -> None:
    error = Retry(delay)

    assert error.delay == delay
    assert isinstance(error.delay, float)
    assert f"{delay:g} s" in str(error)


BAD_DELAYS: dict[str, Any] = {
    "negative": -1,
    "barely negative": -1e-9,
    "31 days": MAX_DELAY_SECONDS + 1,
    "NaN": float("nan"),
    "infinite": float("inf"),
    "negative infinite": float("-inf"),
    "beyond a float": 10**400,
    "beyond a repr": 10**5_000,
    "None": None,
    "string": "10",
    "boolean": True,
    "decimal": Decimal(1),
    "list": [1],
}


@pytest.mark.parametrize("delay", BAD_DELAYS.values(), ids=BAD_DELAYS.keys())
def test_any_other_delay_is_refused_where_it_is_raised(delay: Any) -> None:
    with pytest.raises(InvalidRetry, match="from 0 to 2592000") as caught:
        Retry(delay)

    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, EventError)
    with pytest.raises(InvalidRetry):
        check_delay(delay)


def test_a_retry_is_no_error_of_the_package() -> None:
    assert not issubclass(Retry, EventError)


def test_an_event_is_retried_as_often_as_allowed() -> None:
    assert [may_retry(retries, 3) for retries in range(5)] == [True, True, True, False, False]
    assert not may_retry(0, 0)


@pytest.mark.parametrize(
    ("attempt", "longest"), [(0, 0.5), (1, 1.0), (2, 2.0), (5, 16.0), (6, 30.0), (10**9, 30.0)]
)
def test_waiting_doubles_up_to_its_limit_less_a_random_part(attempt: int, longest: float) -> None:
    delays = {backoff_seconds(attempt, base_seconds=0.5, max_seconds=30) for _ in range(200)}

    assert longest / 2 <= min(delays)
    assert max(delays) <= longest
    assert len(delays) > 100
