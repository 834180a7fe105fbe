"""Putting back the dead letters of registered handlers, and counting them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import ReplayError, UnknownQueue
from ..publishing import ConnectionSettings
from ..replaying import RETRY, Frame, replay_all

#: Called with how many dead letters are done, of how many.
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of one handler's dead letters."""

    handler: str
    replayed: int
    #: Dead letters there are now, those included that failed again meanwhile.
    left: int | None
    #: Why not all were replayed; `left` is then unknown.
    error: ReplayError | None = None


def replay_dead_letters(
    handler_name: str,
    connection_settings: ConnectionSettings = "",
    on_progress: OnProgress = lambda done, total: None,
) -> Replayed:
    """Replay every dead letter of a handler that there is when the call begins.

    A handler that never ran has no dead letters. What the dead letters themselves are to blame
    for is in the result; raises `TransportError` and `ConfigurationError`.
    """
    offered = 0

    def choose(*, frame: Frame, **_: Any) -> str:
        nonlocal offered
        on_progress(offered, offered + 1 + frame.message_count)
        offered += 1
        return RETRY

    try:
        left = replay_all(handler_name, choose, connection_settings)
    except ReplayError as error:
        if isinstance(error, UnknownQueue) and not offered:
            return Replayed(handler_name, 0, 0)
        return Replayed(handler_name, max(offered - 1, 0), None, error)
    on_progress(offered, offered)
    return Replayed(handler_name, offered, left)
