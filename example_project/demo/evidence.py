"""What handlers should have done, and what is there: mails, rows and dead letters.

Handled events are counted by their effects, not by what a log says of them.
"""

from __future__ import annotations

import email
import os
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message as Mail
from pathlib import Path

from django.conf import settings
from django.db.models import Sum

from domain_event_broker.django import conf
from domain_event_broker.django.dead_letters import Selection, collect, waiting
from domain_event_broker.django.models import DeadLetter, OutboxEvent, QueuedMessage
from domain_event_broker.django.registry import RegisteredHandler, registry
from domain_event_broker.routing import matches
from example_project.reporting.models import AuditEntry, EventCount
from example_project.shop.models import Reservation

# What Django's file backend writes after each mail.
END_OF_MAIL = "-" * 79 + "\n"


@dataclass(frozen=True, slots=True)
class Published:
    """An event that the shop's answer told of."""

    routing_key: str
    event_id: str

    @property
    def short_id(self) -> str:
        return self.event_id[:8]

    def handlers(self) -> list[RegisteredHandler]:
        """Those that are bound to it."""
        return [h for h in registry.handlers() if _is_bound(h, self.routing_key)]


@dataclass(frozen=True, slots=True)
class Tally:
    """One handler: how many events it should have handled, and how many it did."""

    handler: str
    published: int
    handled: int
    dead_letters: int

    @property
    def is_even(self) -> bool:
        return self.published == self.handled and not self.dead_letters


def tally(published: Sequence[Published]) -> list[Tally]:
    """One line for each handler."""
    handled = effects()
    return [
        Tally(
            handler=handler.name,
            published=sum(_is_bound(handler, event.routing_key) for event in published),
            handled=handled[handler.function.__name__],
            dead_letters=len(dead_letters(handler.name)),
        )
        for handler in registry.handlers()
    ]


def effects() -> dict[str, int]:
    """How often each handler's function took effect so far."""
    return {
        "send_welcome_mail": len(mails()),
        "reserve_stock": Reservation.objects.count(),
        "count_events": EventCount.objects.aggregate(sum=Sum("count"))["sum"] or 0,
        "write_audit_log": AuditEntry.objects.count(),
    }


def mails() -> list[Mail]:
    """The mails that were sent, oldest first."""
    files = sorted(Path(settings.MAIL_FOLDER).glob("*.log"), key=os.path.getmtime)
    texts = [text for file in files for text in file.read_text().split(END_OF_MAIL)]
    return [email.message_from_string(text) for text in texts if text.strip()]


def logged_event_ids() -> set[str]:
    """The audit log, which is bound to every event there is."""
    return set(AuditEntry.objects.values_list("event_id", flat=True))


def stored_event_ids() -> set[str]:
    """The events that wait in the database: to be sent, or in the queues that it keeps itself."""
    return {
        event_id
        for model in (OutboxEvent, QueuedMessage)
        for event_id in model.objects.values_list("event_id", flat=True)
    }


def dead_letters(handler_name: str) -> list[DeadLetter]:
    """The handler's dead letters, those included that are not collected yet."""
    collect(handler_name, conf.required())
    return list(waiting(Selection(handlers=[handler_name])))


def _is_bound(handler: RegisteredHandler, routing_key: str) -> bool:
    return any(matches(key, routing_key) for key in handler.binding_keys)
