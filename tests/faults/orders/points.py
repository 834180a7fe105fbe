"""Named points in the processes, at which they are killed or stopped.

Each is before a call of a real function, which is wrapped for that in the process concerned.
"""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from domain_event_broker.django import deferring
from domain_event_broker.django.dead_letters import collecting
from domain_event_broker.django.querysets import QueuedMessageQuerySet, StoredMessageQuerySet
from domain_event_broker.django.sending import RowSender
from domain_event_broker.django.transport.consumer import DatabaseConsumer
from domain_event_broker.django.transport.dead_letters import DatabaseDeadLetters
from domain_event_broker.transports.amqp import targets
from domain_event_broker.transports.amqp.batches import Pending
from domain_event_broker.transports.amqp.consumer import AmqpConsumer
from domain_event_broker.transports.amqp.dead_letters import AmqpDeadLetters
from domain_event_broker.transports.amqp.moving import Moves
from domain_event_broker.transports.amqp.publisher import Publisher
from domain_event_broker.transports.base import Outcome

from . import domain_events
from .wrapping import before


@dataclass(frozen=True)
class Point:
    """Before those calls of `owner`'s function `name` that count."""

    owner: Any
    name: str
    counts: Callable[..., bool] = lambda *args, **kwargs: True


def _is_main_thread(*args: Any, **kwargs: Any) -> bool:
    return threading.current_thread() is threading.main_thread()


def _has_hooks_here(connection: BaseDatabaseWrapper) -> bool:
    return _is_main_thread() and bool(connection.run_on_commit)


def _has_rows(sender: RowSender, ids: Any, alias: str) -> bool:
    return bool(ids)


def _is_move_to(target: Callable[..., Any]) -> Callable[..., bool]:
    """Of a message that is moved: whether the copy was sent there, and the broker has it."""

    def is_stored(moves: Any, delivery: Any, moved_to: Any, attempt: int, result: Any) -> bool:
        return moved_to.func is target and result.outcome is Outcome.CONFIRMED

    return is_stored


POINTS = {
    # The publisher
    "before the commit": [Point(BaseDatabaseWrapper, "commit", _is_main_thread)],
    "after the commit": [Point(BaseDatabaseWrapper, "run_and_clear_commit_hooks", _has_hooks_here)],
    "before the hand-over": [
        Point(deferring.HandOver, "__call__"),
        Point(deferring, "_send_committed"),  # without an outbox
    ],
    # Whoever sends: the publisher's background thread, or a relay
    "while sending": [Point(Publisher, "_write")],
    "while being confirmed": [Point(Pending, "end")],
    "before the rows are deleted": [Point(RowSender, "settle", _has_rows)],
    # The subscriber
    "before the handler's commit": [Point(domain_events, "has_had_effect")],
    "before the ack": [Point(AmqpConsumer, "ack"), Point(DatabaseConsumer, "ack")],
    "before the settlement": [Point(StoredMessageQuerySet, "settle")],
    "between a retry and its ack": [
        Point(Moves, "_on_moved", _is_move_to(targets.retry_target)),
    ],
    "between a dead letter and its ack": [
        Point(Moves, "_on_moved", _is_move_to(targets.dead_letter_target)),
    ],
    # On the database transport, where that is one step.
    "before a move is stored": [Point(QueuedMessageQuerySet, "move")],
    # Whoever collects dead letters: a subscriber's thread, or a command
    "before dead letters are stored": [Point(collecting, "_insert")],
    "before a dead letter leaves its queue": [
        Point(AmqpDeadLetters, "discard"),
        Point(DatabaseDeadLetters, "discard"),
    ],
}


def signal_at(point: str, nth: int, number: signal.Signals) -> None:
    """Send this process a signal when it comes to the point for the n-th time."""
    passes = itertools.count(1)

    for place in POINTS[point]:

        def work(*args: Any, place: Point = place, **kwargs: Any) -> None:
            if place.counts(*args, **kwargs) and next(passes) == nth:
                # To this thread, which then goes no further; the others end or stop with it.
                signal.pthread_kill(threading.get_ident(), number)

        before(place.owner, place.name, work)
