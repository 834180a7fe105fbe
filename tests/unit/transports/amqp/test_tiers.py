"""The delay queues: any delay is made up of a few stays and is never cut short."""

from itertools import pairwise

import pytest

from domain_event_broker.retrying import MAX_DELAY_SECONDS
from domain_event_broker.transports.amqp.tiers import TIERS_MS, tier_ms

DELAYS_MS = [1, 99, 100, 101, 199, 350, 1_000, 1_599, 60_000, 3_600_001, MAX_DELAY_SECONDS * 1_000]


def test_each_tier_is_twice_the_one_before() -> None:
    assert TIERS_MS[0] == 100
    assert all(later == 2 * earlier for earlier, later in pairwise(TIERS_MS))
    # What RabbitMQ takes as a queue's time to live.
    assert TIERS_MS[-1] < 2**32


@pytest.mark.parametrize("remaining_ms", [0, -1, -60_000])
def test_what_is_due_waits_nowhere(remaining_ms: int) -> None:
    assert tier_ms(remaining_ms) is None


@pytest.mark.parametrize(
    ("remaining_ms", "tier"), [(1, 100), (100, 100), (199, 100), (200, 200), (350, 200)]
)
def test_a_stay_is_the_longest_that_does_not_overshoot(remaining_ms: int, tier: int) -> None:
    assert tier_ms(remaining_ms) == tier


@pytest.mark.parametrize("delay_ms", DELAYS_MS)
def test_stays_add_up_to_the_delay_and_at_most_100_ms_more(delay_ms: int) -> None:
    stays: list[int] = []
    while (tier := tier_ms(delay_ms - sum(stays))) is not None:
        stays.append(tier)

    assert delay_ms <= sum(stays) < delay_ms + 100
    assert len(stays) <= len(TIERS_MS) + 2
