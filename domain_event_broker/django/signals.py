"""Django signals, so that a project hears of what happens to its events.

    signal                  when, and with which keywords
    event_published         the broker has confirmed an event. event_id, routing_key, and using
                            (the alias of the outbox's database; None without an outbox)
    event_publish_failed    a committed event was not published and is not tried again by itself:
                            refused by the broker, or not confirmed with OUTBOX off.
                            event_id, routing_key, error, using
    event_handled           a handler is done with an event. report
    event_retried           a handler gets an event again later. report, which holds the delay
    event_dead_lettered     a handler failed for good, whether the event is kept or not. report,
                            which holds reason and error
    event_replayed          somebody had a dead letter handled again. handler, event_id,
                            routing_key, by

`report` is a `domain_event_broker.handling.Report`. Receivers run where it happens: in the
thread of the handler, in a background thread, or in a command; several at once, where several
handlers run. What they raise is logged by Django and disturbs nobody; what they wait for, that
thread waits for.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.dispatch import Signal

from ..events import DomainEvent
from ..handling import Ending, Report
from ..messages import Message

event_published = Signal()
event_publish_failed = Signal()
event_handled = Signal()
event_retried = Signal()
event_dead_lettered = Signal()
event_replayed = Signal()

_OF_ENDINGS = {
    Ending.HANDLED: event_handled,
    Ending.RETRIED: event_retried,
    Ending.DEAD_LETTERED: event_dead_lettered,
    Ending.DISCARDED: event_dead_lettered,
}


def tell(report: Report) -> None:
    """Tell the receivers how a delivery ended."""
    signal = _OF_ENDINGS.get(report.ending)
    if signal is not None:
        signal.send_robust(sender=Report, report=report)


def is_told_published() -> bool:
    """Whether somebody listens."""
    return event_published.has_listeners(DomainEvent)


def tell_published(published: Iterable[Message], using: str | None) -> None:
    """Tell the receivers what the broker has confirmed."""
    if not is_told_published():
        return
    for message in published:
        event_published.send_robust(
            sender=DomainEvent,
            event_id=message.message_id,
            routing_key=message.routing_key,
            using=using,
        )
