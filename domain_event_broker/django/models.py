"""The app's tables: outbox and inbox, and the queues of the database transport.

Times are the database's own, so that processes whose clocks differ agree on who holds a lease.
A row is *due* from `due_at` on; to claim it is to move that into the future, under a token. What
has no `due_at` waits for a person.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now

from .fields import RowAutoField
from .querysets import DeadLetterQuerySet, OutboxQuerySet, QueuedMessageQuerySet

_KEY_CHARACTERS = 255
_TOKEN_CHARACTERS = 32


class StoredMessage(models.Model):
    """An encoded event, with the lease of whoever works on it."""

    event_id = models.CharField(max_length=_KEY_CHARACTERS)
    routing_key = models.CharField(max_length=_KEY_CHARACTERS)
    body = models.BinaryField()
    #: JSON of what the columns above do not say.
    properties = models.TextField()
    #: When the lease ends, or the next attempt begins.
    due_at = models.DateTimeField(null=True, db_default=Now())
    #: Who holds the lease, or held the last; empty where it was given back.
    lease_token = models.CharField(max_length=_TOKEN_CHARACTERS, db_default="")

    class Meta:
        abstract = True


class OutboxEvent(StoredMessage):
    """An event of a committed transaction that the broker has not confirmed yet."""

    created_at = models.DateTimeField(db_default=Now())
    #: Sends that the broker refused, or left in doubt.
    attempts = models.PositiveIntegerField(db_default=0)
    #: Why the last one failed.
    error = models.TextField(db_default="")
    #: Of a replay, the handler that it is for; empty for an event that goes to everybody.
    handler = models.CharField(max_length=_KEY_CHARACTERS, db_default="")

    objects = OutboxQuerySet.as_manager()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["due_at", "id"], name="deb_outbox_due")]

    def __str__(self) -> str:
        return f"{self.routing_key} {self.event_id}"


class InboxEntry(models.Model):
    """An event that took effect in a handler: written in the handler's own transaction."""

    id = RowAutoField(primary_key=True)
    handler = models.CharField(max_length=_KEY_CHARACTERS)
    event_id = models.CharField(max_length=_KEY_CHARACTERS)
    handled_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "inbox entries"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["handler", "event_id"], name="deb_inbox_once")
        ]

    def __str__(self) -> str:
        return f"{self.event_id} by {self.handler}"


class DeadLetter(models.Model):
    """A delivery that ended in failure, with its story, and what became of it."""

    class State(models.TextChoices):
        """What became of a dead letter."""

        WAITING = "waiting"
        REPLAYED = "replayed"
        DISCARDED = "discarded"

    #: Names the failure: collecting it twice makes one row.
    identity = models.CharField(max_length=_KEY_CHARACTERS, unique=True)
    handler = models.CharField(max_length=_KEY_CHARACTERS)
    event_id = models.CharField(max_length=_KEY_CHARACTERS)
    routing_key = models.CharField(max_length=_KEY_CHARACTERS)
    body = models.BinaryField()
    #: As in the outbox; without the story, which is in the columns.
    properties = models.TextField()
    #: One of `handling.Reason`; empty where another program dead-lettered it.
    reason = models.CharField(max_length=_KEY_CHARACTERS, default="")
    error_type = models.CharField(max_length=_KEY_CHARACTERS, default="")
    error_message = models.TextField(default="")
    #: Where in the code it was raised.
    error_place = models.CharField(max_length=_KEY_CHARACTERS, default="")
    traceback = models.TextField(default="")
    attempts = models.PositiveIntegerField(null=True)
    first_failed_at = models.DateTimeField(null=True)
    #: The last time; where nobody says so, when it was collected.
    failed_at = models.DateTimeField(db_default=Now())
    host = models.CharField(max_length=_KEY_CHARACTERS, default="")
    process_id = models.PositiveBigIntegerField(null=True)
    app_version = models.CharField(max_length=_KEY_CHARACTERS, default="")
    collected_at = models.DateTimeField(db_default=Now())
    state = models.CharField(max_length=16, choices=State, default=State.WAITING)
    settled_at = models.DateTimeField(null=True)
    #: Who replayed or discarded it.
    settled_by = models.CharField(max_length=_KEY_CHARACTERS, default="")

    objects = DeadLetterQuerySet.as_manager()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["state", "handler", "id"], name="deb_dead_letter_state")
        ]

    def __str__(self) -> str:
        return f"{self.event_id} of {self.handler}"


class Exchange(models.Model):
    """Where events are published to. `version` changes with what is bound to it."""

    name = models.CharField(max_length=_KEY_CHARACTERS, unique=True)
    type = models.CharField(max_length=16)
    version = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return self.name


class Queue(models.Model):
    """What waits for one handler, or its dead letters."""

    name = models.CharField(max_length=_KEY_CHARACTERS, unique=True)
    durable = models.BooleanField(default=True)
    exclusive = models.BooleanField(default=False)
    auto_delete = models.BooleanField(default=False)
    #: The consumer of an exclusive queue.
    owner = models.CharField(max_length=_TOKEN_CHARACTERS, default="")
    #: How many consumers an auto-delete queue has.
    consumers = models.PositiveIntegerField(default=0)
    #: When a queue that goes with its consumers is gone, unless one of them renews it.
    expires_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name


class Binding(models.Model):
    """An event of `exchange` that matches `key` goes to `queue`."""

    exchange = models.ForeignKey(Exchange, models.CASCADE, related_name="bindings")
    queue = models.ForeignKey(Queue, models.CASCADE, related_name="bindings")
    key = models.CharField(max_length=_KEY_CHARACTERS)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["exchange", "queue", "key"], name="deb_binding_once")
        ]

    def __str__(self) -> str:
        return f"{self.key} to {self.queue_id}"


class QueuedMessage(StoredMessage):
    """One event waiting for one handler, or a dead letter of it."""

    # Unconstrained: a queue that goes with its consumer must not fail a publisher's commit.
    queue = models.ForeignKey(
        Queue, models.CASCADE, related_name="messages", db_constraint=False, db_index=False
    )
    #: Leases that ran out with no word from their holder.
    crashes = models.PositiveIntegerField(db_default=0)

    objects = QueuedMessageQuerySet.as_manager()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["queue", "due_at", "id"], name="deb_queue_due")]

    def __str__(self) -> str:
        return f"{self.routing_key} {self.event_id}"
