"""What is noted in every process of the test project."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig

from domain_event_broker.handling import Registration
from domain_event_broker.handling import event_id as id_of

from .configuration import project
from .wrapping import before


class OrdersConfig(AppConfig):
    name = "tests.faults.orders"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import mutants  # models can be imported now

        before(Registration, "process", _note_delivery)
        if project.ACKED_FIRST:
            mutants.ack_first()


def _note_delivery(registration: Registration, delivery: Any, consumer: Any) -> None:
    handler = registration.subscription.name
    project.LEDGERS.deliveries.write(handler=handler, event=id_of(delivery.message))
