"""What reporting keeps of the events of others."""

from datetime import UTC, datetime

from django.db.models import F

from domain_event_broker import DomainEvent
from domain_event_broker.django import domain_event_handler

from .models import AuditEntry, EventCount


@domain_event_handler("user.*", "order.*")
def count_events(event: DomainEvent) -> None:
    """Count the events of each kind; one that is delivered twice counts once."""
    EventCount.objects.update_or_create(
        routing_key=event.routing_key,
        defaults={"count": F("count") + 1},
        create_defaults={"count": 1},
    )


@domain_event_handler("#")
def write_audit_log(event: DomainEvent) -> None:
    """Keep every event."""
    AuditEntry.objects.create(
        event_id=event.uuid_string,
        routing_key=event.routing_key,
        data=event.data,
        happened_at=datetime.fromtimestamp(event.timestamp, UTC),
    )
