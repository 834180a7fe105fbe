"""One connection to RabbitMQ, in a thread of its own that runs pika's loop.

pika's objects are touched in that thread only. Others hand it work with `post`. Whatever goes
wrong in the loop is caught, the connection dropped and reported as lost: nobody waits in vain.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from pika.adapters.select_connection import IOLoop

from ...errors import (
    BrokerUnavailable,
    ConfigurationError,
    DomainEventBrokerError,
    TransportClosed,
)
from ...retrying import backoff_seconds
from ...settings import Settings
from .errors import describe, translate
from .parameters import connection_parameters
from .pika_connection import Connection, close_descriptors

log = logging.getLogger(__name__)

# pika's own calls that take the loop's lock are not waited for longer than this.
_JOIN_SECONDS = 1.0


class Owner(Protocol):
    """Who uses a connection; all of it is called in the connection's thread."""

    def on_open(self, connection: Connection) -> None:
        """The connection is there."""

    def on_lost(self, error: DomainEventBrokerError) -> None:
        """It is gone, or could not be opened."""

    def on_posted(self) -> None:
        """All that was posted so far has run."""

    def wants_connection(self) -> bool:
        """Whether to connect again after a loss, with backoff."""

    def forget(self) -> None:
        """In a forked child: what was under way belongs to the parent."""


class ConnectionThread:
    """Opens the connection when first asked, again after a loss, until closed.

    `post` and `close` may be called from any thread; everything else belongs to the loop.
    """

    def __init__(self, settings: Settings, purpose: str, owner: Owner) -> None:
        self.settings = settings
        self._purpose = purpose
        self._owner = owner
        self._reset()
        _live.add(self)

    def _reset(self) -> None:
        self.pid = os.getpid()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: IOLoop | None = None
        self._connection: Connection | None = None
        self._posted: deque[Callable[[], None]] = deque()
        self._is_woken = False
        self._is_closing = False
        self._is_opening = False
        self._has_been_open = False
        self._reconnect_timer: Any = None
        self._losses = 0

    # From any thread

    @property
    def is_closing(self) -> bool:
        return self._is_closing

    def post(self, work: Callable[[], None]) -> None:
        """Have `work` run in the loop, in order. Raises `TransportClosed`."""
        if self._is_closing:
            raise TransportClosed("This connection is closed.")
        self._posted.append(work)
        if self._thread is None:
            self._start()
        self._wake()

    def close(self, timeout_seconds: float) -> None:
        """Close gracefully what is open, and end the thread; wait so long at most."""
        with self._lock:
            if self._is_closing or self._thread is None:
                self._is_closing = True
                return
            self._is_closing = True
            thread = self._thread
        self._posted.append(self._close_in_loop)
        self._wake()
        if thread is threading.current_thread():
            return
        thread.join(timeout_seconds)
        if thread.is_alive():
            log.debug("%s: no goodbye within %g s.", self._purpose, timeout_seconds)
            self._posted.append(self._abort_in_loop)
            self._is_woken = False
            self._wake()
            thread.join(_JOIN_SECONDS)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._is_closing:
                self._loop = IOLoop()
                self._thread = threading.Thread(
                    target=self._run, name=f"domain-event-broker {self._purpose}", daemon=True
                )
                self._start_thread(self._thread)

    def _start_thread(self, thread: threading.Thread) -> None:
        try:
            thread.start()
        except RuntimeError as error:  # Python 3.12 and later, once the main thread has ended
            self._thread = None
            self._is_closing = True
            self._posted.clear()
            self._close_loop()
            raise TransportClosed(f"No connection can be opened any more: {error}.") from error

    def _wake(self) -> None:
        # One wake-up for any number of posts: the loop clears the flag before it looks.
        if self._is_woken:
            return
        try:
            self._is_woken = True
            loop = self._loop
            if loop is not None:
                loop.add_callback_threadsafe(self._run_posted)
        except BaseException:
            # Such as KeyboardInterrupt, or what a signal handler raises to end a task: nobody
            # would be woken again.
            self._is_woken = False
            raise

    # In the loop

    @property
    def loop(self) -> IOLoop:
        if self._loop is None:
            raise TransportClosed("This connection's thread has ended.")
        return self._loop

    def open(self) -> None:
        """Connect, unless it is connected, connecting or waiting to."""
        if self._connection is None and self._reconnect_timer is None and not self._is_closing:
            self._connect()

    def abort(self, reason: str) -> None:
        """Drop a connection that does not answer."""
        if self._connection is not None:
            log.warning("%s: dropping the connection: %s.", self._purpose, reason)
            self._connection.abort(reason)

    def _run(self) -> None:
        try:
            while not self._is_finished():
                self._run_loop()
        finally:
            self._is_closing = True
            self._lost(TransportClosed("The connection was closed."))
            self._run_posted()
            self._close_loop()
            self._thread = None

    def _close_loop(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.close()  # its descriptors

    def _is_finished(self) -> bool:
        return self._is_closing and self._connection is None and not self._posted

    def _run_loop(self) -> None:
        """Run pika's loop until it is told to end, or breaks."""
        loop = self.loop
        self._is_woken = True
        loop.add_callback_threadsafe(self._run_posted)
        try:
            loop.start()
        except BaseException as error:  # also what pika's callbacks let through
            log.exception("%s: unexpected error; dropping the connection.", self._purpose)
            close_descriptors(self._connection, None)
            self._reconnect_timer = None
            self._lost_unexpectedly(error)
        finally:
            # Anew each time: a loop that an error left may be in any state.
            self._loop = IOLoop()
            loop.close()
        if not self._is_closing and self._owner.wants_connection():
            self._posted.append(self._reconnect_later)

    def _lost_unexpectedly(self, error: BaseException) -> None:
        try:
            self._lost(BrokerUnavailable(f"Unexpected error: {describe(error)}"))
        except Exception:
            log.exception("%s: unexpected error about a lost connection.", self._purpose)

    def _run_posted(self) -> None:
        self._is_woken = False
        while self._posted:
            self._posted.popleft()()
        self._owner.on_posted()

    def _connect(self) -> None:
        self._reconnect_timer = None
        if self._is_closing or self._connection is not None:
            return
        try:
            parameters = connection_parameters(self.settings, self._purpose)
        except DomainEventBrokerError as error:
            self._lost(error)
            return
        self._is_opening = True
        self._connection = Connection(
            parameters,
            on_open_callback=self._opened,
            on_open_error_callback=self._closed,
            on_close_callback=self._closed,
            custom_ioloop=self.loop,
        )

    def _opened(self, connection: Any) -> None:
        if self._connection is None or connection is not self._connection:
            connection.close()
            return
        self._is_opening = False
        self._has_been_open = True
        log.debug("%s: connected to %s.", self._purpose, self.settings.safe_url)
        self._owner.on_open(connection)
        if self._is_closing:
            self._close_in_loop()

    def _closed(self, connection: Any, error: BaseException) -> None:
        if connection is not self._connection:
            return
        self._lost(translate(error, self.settings))
        if self._is_closing:
            self.loop.stop()
        elif self._owner.wants_connection():
            self._reconnect_later()

    def _lost(self, error: DomainEventBrokerError) -> None:
        log.log(self._level_of(error), "%s: %s", self._purpose, error)
        self._connection = None
        self._is_opening = False
        self._owner.on_lost(error)

    def _level_of(self, error: DomainEventBrokerError) -> int:
        """Warn once for the loss; the attempts that follow are for those who look for them."""
        if self._is_closing:
            return logging.DEBUG
        if isinstance(error, ConfigurationError) and self._has_been_open:
            return logging.ERROR  # before that, it is raised to whoever asked
        was_open = self._connection is not None and not self._is_opening
        return logging.WARNING if was_open else logging.INFO

    def settled(self) -> None:
        """The connection works: the next loss starts the backoff anew."""
        if self._losses:
            log.warning("%s: connected to %s again.", self._purpose, self.settings.safe_url)
        self._losses = 0

    def _reconnect_later(self) -> None:
        if self._connection is not None or self._reconnect_timer is not None:
            return
        delay_seconds = backoff_seconds(
            self._losses,
            self.settings.reconnect_delay_seconds,
            self.settings.max_reconnect_delay_seconds,
        )
        self._losses += 1
        log.info("%s: connecting again in %.1f s.", self._purpose, delay_seconds)
        self._reconnect_timer = self.loop.call_later(delay_seconds, self._connect)

    def _close_in_loop(self) -> None:
        if self._connection is None:
            self.loop.stop()
        elif self._connection.is_open or self._is_opening:
            self._connection.close()

    def _abort_in_loop(self) -> None:
        if self._connection is not None and not self._is_opening:
            self._connection.abort("no goodbye in time")
        self.loop.stop()
        self._connection = None

    # In a forked child

    def forget_after_fork(self) -> None:
        """Give up what belongs to the parent; the next use connects anew."""
        close_descriptors(self._connection, self._loop)
        self._reset()
        self._owner.forget()


_live: weakref.WeakSet[ConnectionThread] = weakref.WeakSet()


def _forget_all_after_fork() -> None:
    for connection in list(_live):
        connection.forget_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all_after_fork)
