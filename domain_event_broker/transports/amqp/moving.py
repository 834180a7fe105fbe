"""Copies of deliveries that go elsewhere: published until the broker has them."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from ...errors import ConfigurationError, TransportClosed
from ...handling import event_id
from ...retrying import backoff_seconds
from ..base import Delivery, Outcome, PublishResult
from .batches import Outgoing
from .connection import ConnectionThread
from .publisher import Publisher
from .subscription import channel_of

log = logging.getLogger(__name__)

# A move that the broker does not take is tried again, ever slower.
_BASE_SECONDS = 0.2
_MAX_SECONDS = 30.0

#: Where a copy goes, at attempt number 0, 1, ...
Target = Callable[[int], Outgoing]


class Mover(Protocol):
    """Who has the originals; told in the connection's thread."""

    def on_copied(self, delivery: Delivery) -> None:
        """The copy is stored: the original may go."""

    def on_not_copied(self, delivery: Delivery) -> None:
        """The original has gone back, and so needs no copy."""

    def on_given_up(self) -> None:
        """The same of one whose connection is gone, or is being closed. From any thread."""


class Moves:
    """All moves of one consumer, in its connection's thread.

    They go out through the process's publishing connection, so that a broker that blocks
    publishers still takes acknowledgements.
    """

    def __init__(
        self, thread: ConnectionThread, publisher: Callable[[], Publisher], mover: Mover
    ) -> None:
        self._thread = thread
        self._publisher = publisher
        self._mover = mover
        self._keys = itertools.count()
        self.forget()

    def forget(self) -> None:
        """In a forked child: they are the parent's."""
        # Timers of what is tried again later.
        self._held: dict[int, Any] = {}

    def begin(self, delivery: Delivery, target: Target) -> None:
        """Publish a copy where `target` says, and tell once that is confirmed."""
        self._move(delivery, target, attempt=0)

    def lost(self) -> None:
        """The connection that the originals came by is gone."""
        held, self._held = self._held, {}
        for timer in held.values():
            self._thread.loop.remove_timeout(timer)
            self._mover.on_given_up()

    def _move(self, delivery: Delivery, target: Target, attempt: int) -> None:
        channel = channel_of(delivery)
        channel.safe()
        if not channel.is_current(delivery):
            self._mover.on_not_copied(delivery)
            return

        def on_done(results: list[PublishResult]) -> None:
            # In the publisher's thread.
            try:
                self._thread.post(partial(self._on_moved, delivery, target, attempt, results[0]))
            except TransportClosed:
                self._mover.on_given_up()

        try:
            self._publisher().publish([target(attempt)], on_done)
        except TransportClosed as error:
            closed = PublishResult(Outcome.UNKNOWN, error)
            self._on_moved(delivery, target, attempt, closed)

    def _on_moved(
        self, delivery: Delivery, target: Target, attempt: int, result: PublishResult
    ) -> None:
        if result.outcome is Outcome.CONFIRMED:
            self._mover.on_copied(delivery)
            return
        is_forbidden = isinstance(result.error, ConfigurationError)
        if result.outcome is not Outcome.REFUSED and not is_forbidden:
            # Somebody may have deleted the queue, or the exchange, that it should go to.
            channel_of(delivery).declare(delays=True)
        delay_seconds = backoff_seconds(attempt, _BASE_SECONDS, _MAX_SECONDS)
        log.log(
            _level(attempt, is_forbidden=is_forbidden),
            "%s: event %s is held and moved again in %.1f s: %s",
            delivery.subscription.name,
            event_id(delivery.message),
            delay_seconds,
            result.error or result.outcome.value,
        )
        key = next(self._keys)
        self._held[key] = self._thread.loop.call_later(
            delay_seconds, partial(self._move_again, key, delivery, target, attempt + 1)
        )

    def _move_again(self, key: int, delivery: Delivery, target: Target, attempt: int) -> None:
        if self._held.pop(key, None) is not None:
            self._move(delivery, target, attempt)


def _level(attempt: int, *, is_forbidden: bool) -> int:
    if is_forbidden:
        return logging.INFO if attempt else logging.ERROR
    return logging.WARNING if attempt else logging.INFO
