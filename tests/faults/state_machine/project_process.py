"""One process of the project: it publishes, hands over, relays, consumes and repairs."""

from __future__ import annotations

from typing import Any, Protocol

from domain_event_broker.django import background
from domain_event_broker.django.background import Committed
from domain_event_broker.django.leases import new_token
from domain_event_broker.django.registry import registry
from domain_event_broker.django.relaying import Relay
from domain_event_broker.django.running import HandlerRun, Limits
from domain_event_broker.handling import Registration, Report
from domain_event_broker.settings import Settings
from domain_event_broker.transports.base import Consumer, Delivery

from .ledger import Ledger
from .queues import Queues


class Machine(Protocol):
    settings: Settings
    ledger: Ledger
    queues: Queues


class Process:
    """What runs in threads of a real one is stepped here, by the same code; begun anew on death."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.begin()

    def begin(self) -> None:
        self.token = new_token()
        #: What commit hooks handed over, and the background publisher has not got yet.
        self.handed: list[Committed] = []
        self._shift: Any = None
        self.relay = Relay(self._machine.settings, ["default"])
        self.held: list[Delivery] = []
        self.run = HandlerRun(
            registry.handlers(),
            self._machine.settings,
            Limits(),
            on_ready=lambda: None,
            on_report=lambda report: None,
        )
        for handler in registry.handlers():
            assert self.run._register(handler)
        self.consumer.start()

    @property
    def consumer(self) -> Consumer:
        consumer = self.run._subscriber._consumer
        assert consumer is not None
        return consumer

    def registration(self, delivery: Delivery) -> Registration:
        return self.run._subscriber._registrations[delivery.subscription.name]

    def report(self, report: Report) -> None:
        self.run._report(report)

    def publish_handed(self) -> None:
        """What the background publisher does when something was handed over, or is due."""
        if self._shift is None:
            self._shift = background._Shift()
        events, self.handed = self.handed, []
        self._shift.work(events)

    def receive(self) -> bool:
        """Take a delivery; tell whether there was any."""
        delivery = self.consumer.receive(0)
        if delivery is not None:
            self._machine.ledger.see_counts(delivery)
            self.held.append(delivery)
        return delivery is not None

    def renew_leases(self) -> None:
        """What the thread beside the handlers does."""
        consumer: Any = self.consumer
        if self._machine.queues.are_leased:
            consumer._tend()

    def die(self) -> None:
        """It says nothing more, to nobody."""
        queues = self._machine.queues
        self._machine.ledger.crash(queues.unsettled(self.consumer))
        queues.lose(self.consumer)

    def stop(self) -> None:
        """End gracefully; what was committed is left to the relay."""
        self.consumer.stop()
        for delivery in self.held:
            self.consumer.release(delivery)
        self.run._subscriber.disconnect()
