"""What is noted in every process of the test project."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig

from domain_event_broker.encoding import retries
from domain_event_broker.handling import Registration
from domain_event_broker.handling import event_id as id_of

from .configuration import project
from .wrapping import before


class OrdersConfig(AppConfig):
    name = "tests.faults.orders"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Models can be imported now.
        from domain_event_broker.django.dead_letters import collecting, settling
        from domain_event_broker.transports.amqp import restoring

        from . import mutants

        before(Registration, "process", _note_delivery)
        if project.ACKED_FIRST:
            mutants.ack_first()
        if project.ACKED_BEFORE_COPIED:
            mutants.ack_before_copying()
        if project.UNCONFIRMED:
            mutants.publish_without_confirms()
        if project.BATCH is not None:
            collecting._BATCH = settling._BATCH = project.BATCH
        if project.BIND_SECONDS is not None:
            restoring._BIND_SECONDS = project.BIND_SECONDS


def _note_delivery(registration: Registration, delivery: Any, consumer: Any) -> None:
    handler = registration.subscription.name
    message = delivery.message
    retried = retries(message.headers)
    project.LEDGERS.deliveries.write(handler=handler, event=id_of(message), retries=retried)
