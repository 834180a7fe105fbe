"""What a subscription's channel tells the consumer that it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from ...errors import ConfigurationError
from ..base import Delivery

if TYPE_CHECKING:
    from .subscription import SubscriptionChannel


class Watcher(Protocol):
    """Who is told of what becomes of a subscription; all in the connection's thread."""

    def on_delivery(self, delivery: Delivery) -> None:
        """Something came."""

    def on_unwanted(self, delivery: Delivery) -> None:
        """Something came after `SubscriptionChannel.stop`."""

    def on_refused(self, error: ConfigurationError) -> None:
        """It cannot be consumed, and never could."""

    def on_missing_exchange(self) -> None:
        """Somebody deleted the exchange."""

    def on_timed_out(self, channel: SubscriptionChannel) -> frozenset[Any]:
        """What was delivered took too long to be settled; `on_idle` is awaited.

        Returns what is being handled now.
        """

    def being_handled(self) -> frozenset[Any]:
        """The tokens of what was received and is not settled yet, of all subscriptions."""

    def is_cautious(self) -> bool:
        """Whether so little time has passed that what may end the process is to be expected."""

    def may_widen(self) -> bool:
        """Whether no subscription has, or may just get, what may have ended a process before."""
