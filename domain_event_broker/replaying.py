"""`replay_event` and `replay_all`: put dead letters back on their own handler's queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import InvalidReplayAction
from .handling import restarted
from .messages import Message
from .publishing import ConnectionSettings
from .settings import resolve
from .transports import transport_for
from .transports.base import DeadLetter, DeadLetters
from .values import value
from .wording import shown

RETRY = "retry"
LEAVE = "leave"
DISCARD = "discard"

# How many dead letters are held at once, undecided; bounds the memory.
_BATCH = 100


@value
class Frame:
    """Where a dead letter came from: the ``frame`` of a replay callback."""

    routing_key: str
    #: Dead letters behind this one when the look began or went on.
    message_count: int


def retry_event(body: bytes, **kwargs: Any) -> str:
    """The default callback: replay every dead letter."""
    return RETRY


MessageCallback = Callable[..., str]


def replay_event(
    queue_name: str,
    message_callback: MessageCallback = retry_event,
    connection_settings: ConnectionSettings = "",
) -> int:
    """Decide on one dead letter of the handler `queue_name`; return how many are left.

    `message_callback` is called with the keywords `body` (bytes), `header` (the `Message`, with
    its properties and ``headers``) and `frame` (``routing_key``, ``message_count``), and returns
    `RETRY` (back to this handler's queue, same id, attempts reset), `LEAVE` or `DISCARD`. For
    anything else the event stays and `InvalidReplayAction` is raised.

    Raises `UnknownQueue` if the handler has no dead-letter queue, and `TransportError`; what was
    not decided on is still there then.
    """
    return _replay(queue_name, message_callback, connection_settings, limit=1)


def replay_all(
    queue_name: str,
    message_callback: MessageCallback = retry_event,
    connection_settings: ConnectionSettings = "",
) -> int:
    """Decide on each dead letter that is there when the call begins; return how many are left.

    Each is offered once, as in `replay_event`. Those that fail again meanwhile count as left.
    """
    return _replay(queue_name, message_callback, connection_settings, limit=None)


def _replay(
    queue_name: str,
    message_callback: MessageCallback,
    connection_settings: ConnectionSettings,
    limit: int | None,
) -> int:
    settings = resolve(connection_settings)
    if settings is None:
        return 0
    with transport_for(settings).dead_letters(queue_name) as box:
        there = box.count()
        left = there if limit is None else min(limit, there)
        kept = 0
        while left and (batch := box.take(min(_BATCH, left))):
            for dead_letter in batch:
                left -= 1
                there = max(there - 1, 0)
                kept += _decide(box, dead_letter, message_callback, there)
        return box.count() + kept


def _decide(
    box: DeadLetters, dead_letter: DeadLetter, message_callback: MessageCallback, behind: int
) -> bool:
    """Carry out what the callback says; tell whether the dead letter stays."""
    message: Message = dead_letter.message
    action = message_callback(
        frame=Frame(message.routing_key, behind), header=message, body=message.body
    )
    if action == RETRY:
        box.replay(dead_letter, restarted(message))
    elif action == DISCARD:
        box.discard(dead_letter)
    elif action == LEAVE:
        return True
    else:
        raise InvalidReplayAction(
            f"The callback must return RETRY, LEAVE or DISCARD, not {shown(action)}. "
            "The dead letter stays."
        )
    return False
