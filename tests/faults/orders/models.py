"""What was committed, and what came of it."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Order(models.Model):
    """Written in the transaction of its event: it is there if that committed, and only then."""

    event_id = models.CharField(max_length=36)
    routing_key = models.CharField(max_length=255)

    objects: ClassVar[models.Manager[Order]] = models.Manager()

    def __str__(self) -> str:
        return f"{self.routing_key} {self.event_id}"


class Effect(models.Model):
    """Written by a handler in its transaction. Nothing keeps it from being there twice."""

    handler = models.CharField(max_length=255)
    event_id = models.CharField(max_length=36)

    objects: ClassVar[models.Manager[Effect]] = models.Manager()

    def __str__(self) -> str:
        return f"{self.event_id} by {self.handler}"
