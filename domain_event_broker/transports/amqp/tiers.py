"""The delay queues: which there are, and which to wait in.

A fixed set, shared by all handlers of an exchange, each with one time to live for all that waits
in it, so that nothing waits behind a longer delay. A delay is made up of several stays.
"""

from __future__ import annotations

#: Milliseconds, doubling from 100: the largest is 19 days, and no stay exceeds the broker's limit.
TIERS_MS = tuple(100 << step for step in range(25))


def tier_ms(remaining_ms: int) -> int | None:
    """The largest tier that does not overshoot; the smallest for a rest; none if it is time."""
    if remaining_ms <= 0:
        return None
    return max((tier for tier in TIERS_MS if tier <= remaining_ms), default=TIERS_MS[0])
