"""What surrounds every handler in its thread: healthy database connections, and patience.

A database that is away is not the event's fault. The event is held and tried again, not
dead-lettered.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import wraps

from django.db import InterfaceError, OperationalError, close_old_connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ..events import DomainEvent
from ..handling import Handler, NotNow
from ..retrying import backoff_seconds
from .databases import is_there, lost_connections

log = logging.getLogger(__name__)

# Django's limits of age count in whole seconds, so a look at each event would be wasted.
_LOOK_SECONDS = 1.0
# A handler whose own statement breaks the connection, each time, is a failing handler.
_MOST_LOSSES = 3
_WAIT_BASE_SECONDS = 0.2
_WAIT_MAX_SECONDS = 10.0
_STOP_POLL_SECONDS = 0.2


class DatabaseCare:
    """Looks after the database connections of the thread that runs the handlers. For one thread.

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
        losses = 0
        while True:
            try:
                function(event)
                return
            except (OperationalError, InterfaceError) as error:
                lost = lost_connections()
                losses += 1
                if not lost or losses > _MOST_LOSSES:
                    raise
                log.warning(
                    "Event %s is held: the database %s was lost: %s",
                    event.uuid_string,
                    ", ".join(repr(connection.alias) for connection in lost),
                    " ".join(str(error).split()),
                )
            self._wait_for(lost)

    def _wait_for(self, lost: list[BaseDatabaseWrapper]) -> None:
        attempt = 0
        while not all(is_there(connection) for connection in lost):
            resume_at = time.monotonic() + backoff_seconds(
                attempt, _WAIT_BASE_SECONDS, _WAIT_MAX_SECONDS
            )
            while time.monotonic() < resume_at:
                if self._is_stopping():
                    raise NotNow
                time.sleep(_STOP_POLL_SECONDS)
            attempt += 1

    def _close_old_connections(self) -> None:
        now = time.monotonic()
        if now < self._looked_at + _LOOK_SECONDS:
            return
        self._looked_at = now
        try:
            close_old_connections()
        except Exception as error:
            log.warning("A database connection could not be closed.", exc_info=error)
