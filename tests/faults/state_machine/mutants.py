"""What a package would be that breaks its promise: one fault of its own, put in on purpose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from django.db import transaction

from domain_event_broker import DomainEvent, encoding, handling, messages
from domain_event_broker.django import deferring, inbox, running
from domain_event_broker.django.dead_letters import collecting
from domain_event_broker.django.querysets import OutboxRow, QueuedMessageQuerySet
from domain_event_broker.django.sending import RowSender, Sent
from domain_event_broker.handling import AlreadyHandled, Handler, Registration, Report
from domain_event_broker.messages import Message
from domain_event_broker.settings import Settings
from domain_event_broker.transports import transport_for
from domain_event_broker.transports.base import Consumer, DeadLetter, Delivery, PublishResult
from domain_event_broker.transports.memory import MemoryConsumer, MemoryDeadLetters

Mutate = Callable[[pytest.MonkeyPatch], None]


def ack_first(patched: pytest.MonkeyPatch) -> None:
    """Deliveries are acknowledged before they are handled."""
    process = Registration.process

    def ack_and_process(self: Registration, delivery: Delivery, consumer: Consumer) -> Report:
        consumer.ack(delivery)
        return process(self, delivery, consumer)

    patched.setattr(Registration, "process", ack_and_process)


def ack_before_storing(patched: pytest.MonkeyPatch) -> None:
    """What moves, to be retried or as a dead letter, is removed before its copy is stored."""

    def settle(self: Any, delivery: Delivery, move: Callable[[], object]) -> None:
        with self._broker.changed:
            if self._unsettled.pop(id(delivery), None) is not None:
                move()

    patched.setattr(MemoryConsumer, "_settle", settle)


def discard_before_storing(patched: pytest.MonkeyPatch) -> None:
    """A dead letter that is replayed is removed before its copy is stored."""

    def replay(self: Any, dead_letter: DeadLetter, message: Message) -> None:
        self.discard(dead_letter)
        self._broker.put(self._handler_name, message)

    patched.setattr(MemoryDeadLetters, "replay", replay)


def no_retries_counted(patched: pytest.MonkeyPatch) -> None:
    """Each attempt is the first."""
    patched.setattr(handling, "retries", lambda headers: 0)


def one_retry_too_many(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(handling, "may_retry", lambda tried, most: tried <= most)


def crashes_count_as_attempts(patched: pytest.MonkeyPatch) -> None:
    process = Registration.process

    def count(self: Registration, delivery: Delivery, consumer: Consumer) -> Report:
        headers = dict(delivery.message.headers)
        headers[messages.RETRIES] = encoding.retries(headers) + delivery.crashes
        delivery.message = replace(delivery.message, headers=headers)
        return process(self, delivery, consumer)

    patched.setattr(Registration, "process", count)


def no_crashes_counted(patched: pytest.MonkeyPatch) -> None:
    """An event that kills its process comes again without end."""
    give_back = MemoryConsumer._give_back

    def forget(self: MemoryConsumer, delivery: Delivery, crashes: int) -> None:
        give_back(self, delivery, 0)

    patched.setattr(MemoryConsumer, "_give_back", forget)


def replays_without_a_new_beginning(patched: pytest.MonkeyPatch) -> None:
    """A replay has used up its retries before."""
    patched.setattr("domain_event_broker.replaying.restarted", lambda message: message)


def no_inbox(patched: pytest.MonkeyPatch) -> None:
    def each_time(function: Handler, handler_name: str, alias: str) -> Handler:
        return transaction.atomic(using=alias)(function)

    patched.setattr(running, "once_per_event", each_time)


def inbox_committed_first(patched: pytest.MonkeyPatch) -> None:
    """The note that a handler took an event is not part of the handler's transaction."""

    def once(function: Handler, handler_name: str, alias: str) -> Handler:
        def handle(event: DomainEvent) -> None:
            if not inbox.record(handler_name, event.uuid_string, alias):
                raise AlreadyHandled
            with transaction.atomic(using=alias):
                function(event)

        return handle

    patched.setattr(running, "once_per_event", once)


def delete_before_the_confirm(patched: pytest.MonkeyPatch) -> None:
    """Rows of the outbox go when they are sent, not when the broker has them."""
    send = RowSender.send

    def delete_and_send(
        self: RowSender, rows: Sequence[OutboxRow], alias: str, *claim_following: Any
    ) -> Sent:
        self.settle([row.id for row in rows], alias)
        return send(self, rows, alias, *claim_following)

    patched.setattr(RowSender, "send", delete_and_send)


def publish_before_the_commit(patched: pytest.MonkeyPatch) -> None:
    def publish(
        messages: Sequence[Message], settings: Settings, alias: str, handler_name: str = ""
    ) -> list[PublishResult]:
        return transport_for(settings).publish(messages, settings.publish_timeout_seconds)

    patched.setattr(deferring, "store", publish)


def discard_before_collecting(patched: pytest.MonkeyPatch) -> None:
    """Dead letters leave their queue before they are in the table."""
    store = collecting._store

    def collect(handler_name: str, settings: Settings) -> None:
        with transport_for(settings).dead_letters(handler_name) as box:
            taken = box.take(100)
            for letter in taken:
                box.discard(letter)
            store(handler_name, taken, "default")

    patched.setattr("domain_event_broker.django.dead_letters.collect", collect)


def no_leases_counted(patched: pytest.MonkeyPatch) -> None:
    """A lease that ended without a word is no crash."""
    claim = QueuedMessageQuerySet._claim

    def forget(self: Any, *arguments: Any, also: str) -> Any:
        return claim(self, *arguments)

    patched.setattr(QueuedMessageQuerySet, "_claim", forget)
