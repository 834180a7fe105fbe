"""The two kinds of queues that a project is run on: those of a broker, and tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from domain_event_broker.django.models import Exchange, Queue, QueuedMessage
from domain_event_broker.names import dead_letter_queue
from domain_event_broker.transports.base import Consumer, Delivery

from ..oracle import Effect
from .broker import FaultyBroker, FaultyTransport
from .faults import Stage
from .ledger import Ledger


class Queues(Protocol):
    """What a machine must know of the queues that its project uses."""

    #: Whether who holds a delivery must say so again and again.
    are_leased: bool

    def begin(self, stage: Stage, ledger: Ledger) -> None:
        """Make them be gone."""

    def held(self, handlers: Sequence[str]) -> Iterator[Effect]:
        """What is in them, delivered or not, or a dead letter; with copies."""

    def unsettled(self, consumer: Consumer) -> list[Delivery]:
        """What comes back if the consumer's process dies."""

    def lose(self, consumer: Consumer) -> None:
        """The consumer's process died. Asks no database."""

    def restart(self) -> bool:
        """Restart the broker; false where there is none."""


class BrokersQueues:
    """On a broker in memory."""

    are_leased = False

    def __init__(self, transport: FaultyTransport) -> None:
        self._transport = transport

    def begin(self, stage: Stage, ledger: Ledger) -> None:
        self._broker: FaultyBroker = self._transport.begin(stage, ledger)

    def held(self, handlers: Sequence[str]) -> Iterator[Effect]:
        return self._broker.held(handlers)

    def unsettled(self, consumer: Any) -> list[Delivery]:
        return list(consumer._unsettled.values())

    def lose(self, consumer: Consumer) -> None:
        consumer.close(0)

    def restart(self) -> bool:
        self._broker.restart()
        return True


class DatabaseQueues:
    """In tables."""

    are_leased = True

    def begin(self, stage: Stage, ledger: Ledger) -> None:
        QueuedMessage.objects.all().delete()
        Queue.objects.all().delete()
        Exchange.objects.all().delete()

    def held(self, handlers: Sequence[str]) -> Iterator[Effect]:
        owners = {name: name for name in handlers}
        owners |= {dead_letter_queue(name): name for name in handlers}
        for queue, event in QueuedMessage.objects.values_list("queue__name", "event_id"):
            yield owners[queue], event

    def unsettled(self, consumer: Any) -> list[Delivery]:
        return list(consumer._held.values())

    def lose(self, consumer: Consumer) -> None:
        """Its leases end by themselves."""

    def restart(self) -> bool:
        return False
