"""What happened in the shop: how often, and in full."""

from django.db import models


class EventCount(models.Model):
    """The statistics: how many events there were of a kind."""

    routing_key = models.CharField(max_length=255, unique=True)
    count = models.PositiveBigIntegerField()

    def __str__(self) -> str:
        return f"{self.routing_key}: {self.count}"


class AuditEntry(models.Model):
    """The audit log: one row for each event."""

    event_id = models.CharField(max_length=255, unique=True)
    routing_key = models.CharField(max_length=255)
    data = models.JSONField()
    happened_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.happened_at:%Y-%m-%d %H:%M:%S} {self.routing_key} {self.event_id}"
