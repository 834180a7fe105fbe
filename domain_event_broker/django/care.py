"""What surrounds every handler in its thread: healthy database connections, and patience.

A database that is away is not the event's fault. The event is held and tried again, not
dead-lettered.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable
from functools import wraps

from django.db import InterfaceError, OperationalError, close_old_connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ..events import DomainEvent
from ..handling import Handler, NotNow
from ..retrying import backoff_seconds
from .databases import is_locked, is_of_lost_connection, is_there, lost_connections, one_line

log = logging.getLogger(__name__)

# Django's limits of age count in whole seconds, so a look at each event would be wasted.
_LOOK_SECONDS = 1.0
# A handler whose own statement breaks the connection, or finds the database locked, each time, is
# a failing handler.
_MOST_LOSSES = 3
_MOST_LOCKS = 10
_WAIT_BASE_SECONDS = 0.2
_WAIT_MAX_SECONDS = 10.0
_STOP_POLL_SECONDS = 0.2


class DatabaseCare(threading.local):
    """Looks after the database connections of each thread that runs handlers.

    :param is_stopping: asked while a database is waited for.
    """

    def __init__(self, is_stopping: Callable[[], bool]) -> None:
        self._is_stopping = is_stopping
        self._looked_at = 0.0

    def around(self, function: Handler) -> Handler:
        """`function`, with stale connections closed before and after, as Django does for requests.

        Where it fails because a connection broke, it is called again once the database is back;
        `NotNow` is raised if that is not before the end.
        """

        @wraps(function)
        def handle(event: DomainEvent) -> None:
            self._close_old_connections()
            try:
                self._call(function, event)
            except BaseException:
                self._looked_at = 0.0  # it may have left a connection in any state
                raise
            finally:
                self._close_old_connections()

        return handle

    def _call(self, function: Handler, event: DomainEvent) -> None:
        for attempt in itertools.count(1):
            try:
                function(event)
                return
            except (OperationalError, InterfaceError) as error:
                lost = lost_connections()
                is_lost = bool(lost) or is_of_lost_connection(error)
                most = _MOST_LOCKS if is_locked(error) else _MOST_LOSSES
                if not (is_lost or is_locked(error)) or attempt >= most:
                    raise
                log.warning("Event %r is held: %s", event.uuid_string, one_line(error))
            self._pause(attempt)
            self._wait_for(lost)

    def _wait_for(self, lost: list[BaseDatabaseWrapper]) -> None:
        for attempt in itertools.count(1):
            if all(is_there(connection) for connection in lost):
                return
            self._pause(attempt)

    def _pause(self, attempt: int) -> None:
        """Wait after so many failed attempts. Raises `NotNow` at the end of the run."""
        seconds = backoff_seconds(attempt - 1, _WAIT_BASE_SECONDS, _WAIT_MAX_SECONDS)
        resume_at = time.monotonic() + seconds
        while time.monotonic() < resume_at:
            if self._is_stopping():
                raise NotNow
            time.sleep(_STOP_POLL_SECONDS)

    def _close_old_connections(self) -> None:
        now = time.monotonic()
        if now < self._looked_at + _LOOK_SECONDS:
            return
        self._looked_at = now
        try:
            close_old_connections()
        except Exception as error:
            log.warning("A database connection could not be closed.", exc_info=error)
