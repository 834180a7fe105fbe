"""Drops a connection whose heartbeats are missing. pika does, too, but may take much longer."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial

from pika.adapters.select_connection import IOLoop

from .pika_connection import Connection

# A process that was stopped for long may have something to read: looked at again once it has.
_SECOND_LOOK_SECONDS = 0.1


def watch_for_silence(
    connection: Connection, loop: IOLoop, on_silent: Callable[[str], None]
) -> None:
    """Call `on_silent`, with what to say, once nothing came for too long on an open connection.

    pika looks once in ``heartbeat + 5`` seconds whether anything came since it looked last, and so
    takes up to twice that: https://github.com/pika/pika/pull/1072.
    """
    # The loop outlives connections, and its timer may be set for long after this one is lost.
    reference = weakref.ref(connection)

    def look(*, is_second: bool = False) -> None:
        connection = reference()
        if connection is None or not connection.is_open:
            return
        seconds = connection.seconds_until_dead()
        if seconds is None:
            return
        if seconds > 0:
            loop.call_later(seconds, look)
        elif is_second:
            on_silent("its heartbeats are missing")
        else:
            loop.call_later(_SECOND_LOOK_SECONDS, partial(look, is_second=True))

    look()
