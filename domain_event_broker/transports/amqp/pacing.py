"""When to try again what was lost, and how loudly to say so."""

from __future__ import annotations

import logging
import time

from ...errors import ConfigurationError, DomainEventBrokerError
from ...retrying import backoff_seconds
from ...settings import Settings

#: What works for so long is steady: when it is lost, backoff begins anew. Anything less goes on
#: where it was, or what breaks as soon as it works would be tried again at once, for ever.
STEADY_SECONDS = 2.0


def is_steady_since(works_since: float | None) -> bool:
    """Whether something has worked for long enough to count. By `time.monotonic`."""
    return works_since is not None and time.monotonic() - works_since >= STEADY_SECONDS


class Pacing:
    """Of one thing that is restored whenever it is lost. For one thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._works_since: float | None = None
        self._failures = 0
        self._told = ""

    def works(self) -> bool:
        """Note that it is as it should be; tell whether somebody was told that it is not."""
        if self._works_since is None:
            self._works_since = time.monotonic()
        told, self._told = self._told, ""
        return bool(told)

    def lost(self) -> None:
        """Note that it works no more; after a steady time, failures are counted anew."""
        if is_steady_since(self._works_since):
            self._failures = 0
        self._works_since = None

    def delay_seconds(self) -> float:
        """How long to wait now: ever longer."""
        delay = backoff_seconds(
            self._failures,
            self._settings.reconnect_delay_seconds,
            self._settings.max_reconnect_delay_seconds,
        )
        self._failures += 1
        return delay

    def hurries(self) -> bool:
        """Whether to try again without a wait: once, after a steady time."""
        if self._failures:
            return False
        self._failures = 1
        return True

    def level_of(self, error: DomainEventBrokerError) -> int:
        """What is the same each time is told once."""
        if str(error) == self._told:
            return logging.INFO
        self._told = str(error)
        return logging.ERROR if isinstance(error, ConfigurationError) else logging.WARNING
