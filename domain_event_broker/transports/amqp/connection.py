"""One connection to RabbitMQ, in a thread of its own that runs pika's loop.

pika's objects are touched in that thread only. Others hand it work with `post`. Whatever goes
wrong in the loop is caught, the connection dropped and reported as lost: nobody waits in vain.

Where the settings list the nodes of a cluster, each connection goes round them in an order of its
own, drawn at random: so do those of a node that died come to sit on all of the others. A whole
round is made without a pause, and then with backoff. The owner is told of a loss when the round
came to nothing.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from pika.adapters.select_connection import IOLoop

from ...errors import (
    BrokerUnavailable,
    ConfigurationError,
    DomainEventBrokerError,
    LimitReached,
    TransportClosed,
)
from ...retrying import backoff_seconds
from ...settings import Settings
from .errors import describe, translate
from .pacing import is_steady_since
from .parameters import connection_parameters
from .pika_connection import Connection, close_descriptors
from .silence import watch_for_silence
from .tls import warn_of_unverified

log = logging.getLogger(__name__)

# What is posted to be done soon is done together with all that comes in this time.
_SOON_SECONDS = 0.001
# pika's own calls that take the loop's lock are not waited for longer than this.
_JOIN_SECONDS = 1.0
# While there are other nodes, opening may take this part of PUBLISH_TIMEOUT: where the first one
# accepts and says nothing, a publish still comes through by the next. Twice as long in each further
# round, up to pika's own limit, for brokers that are slow and not dead.
_OPEN_PART = 0.5
_MIN_OPEN_SECONDS = 1.0
# Beyond any limit of pika's.
_MAX_DOUBLINGS = 10


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
        # Whether something was posted to be done soon, and whether the loop will look for more.
        self._has_soon = self._is_looking = False
        self._is_closing = False
        self._is_opening = False
        self._has_been_open = False
        self._has_settled = False
        # When it settled, by `time.monotonic`, while it is open.
        self._settled_at: float | None = None
        # What the broker refused since it settled: each is told once.
        self._refusals: set[str] = set()
        self._reconnect_timer: Any = None
        # Since it was last steady, of connections and of attempts to open one.
        self._losses = 0
        # What was not told of those, for there was another node to try.
        self._untold: list[DomainEventBrokerError] = []
        nodes = self.settings.nodes
        self._nodes = random.sample(nodes, len(nodes))

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

    def post_soon(self, work: Callable[[], None]) -> None:
        """As `post`, together with what follows: in a millisecond, or when somebody says `hurry`.

        Waking the loop for each piece of work costs more than most of the work. Raises
        `TransportClosed`.
        """
        self._has_soon = True
        if self._is_looking and not self._is_closing:
            self._posted.append(work)
            if self._is_looking:  # still, so it will be seen
                return
            self._wake()
        else:
            self.post(work)

    def hurry(self) -> None:
        """Have what was posted done now."""
        if self._posted:
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
            if self._thread is not None or self._is_closing:
                return
            if self._loop is None:
                self._loop = IOLoop()
            thread = threading.Thread(
                target=self._run, name=f"domain-event-broker {self._purpose}", daemon=True
            )
            self._start_thread(thread)
            # Not before: what a signal handler raises may have ended this before the thread began.
            self._thread = thread

    def _start_thread(self, thread: threading.Thread) -> None:
        try:
            thread.start()
        except RuntimeError as error:  # Python 3.12 and later, once the main thread has ended
            self._is_closing = True
            self._posted.clear()
            self._close_loop()
            raise TransportClosed(f"No connection can be opened any more: {error}.") from error

    def _is_the_one(self) -> bool:
        """Whether this thread is the connection's: one whose start was interrupted has a rival."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.current_thread()
            return self._thread is threading.current_thread()

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

    @property
    def node(self) -> Settings:
        """The settings with the URL of the node that it is, was last or will next be opened to."""
        return self._nodes[0]

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
        if not self._is_the_one():
            return
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
        self._is_looking = False
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
        if self._has_soon and not self._is_looking and not self._is_closing:
            self._has_soon, self._is_looking = False, True
            self.loop.call_later(_SOON_SECONDS, self._look)

    def _look(self) -> None:
        # Cleared before it is looked, as `post_soon` posts before it asks.
        self._is_looking = False
        if self._posted:
            self._run_posted()

    def _connect(self) -> None:
        self._reconnect_timer = None
        if self._is_closing or self._connection is not None:
            return
        try:
            parameters = connection_parameters(self.node, self._purpose, self._open_seconds)
        except DomainEventBrokerError as error:  # such as a certificate that is just being renewed
            self._lost(error)
            if self._owner.wants_connection():
                self._reconnect_later()
            return
        warn_of_unverified(self.node)
        self._is_opening = True
        self._connection = Connection(
            parameters,
            on_open_callback=self._opened,
            on_open_error_callback=self._closed,
            on_close_callback=self._closed,
            custom_ioloop=self.loop,
        )

    @property
    def _open_seconds(self) -> float | None:
        if len(self._nodes) == 1:
            return None
        shortest = max(_OPEN_PART * self.settings.publish_timeout_seconds, _MIN_OPEN_SECONDS)
        return float(shortest * 2 ** min(self._rounds, _MAX_DOUBLINGS))

    @property
    def _rounds(self) -> int:
        """How often all nodes were tried in vain, or lost, since it was last steady."""
        return self._losses // len(self._nodes)

    @property
    def _is_within_round(self) -> bool:
        """Whether there is a node that was not tried since the round began."""
        return self._losses % len(self._nodes) != 0

    def _opened(self, connection: Any) -> None:
        if self._connection is None or connection is not self._connection:
            connection.close()
            return
        self._is_opening = False
        self._has_been_open = True
        log.debug("%s: connected to %s.", self._purpose, self.node.safe_url)
        watch_for_silence(connection, self.loop, self.abort)
        self._owner.on_open(connection)
        if self._is_closing:
            self._close_in_loop()

    def _closed(self, connection: Any, error: BaseException) -> None:
        if connection is not self._connection:
            return
        was_opening = self._is_opening
        failure = translate(error, self.node)
        self._forget_connection(failure)
        if was_opening and self._is_within_round and not self._is_closing:
            self._untold.append(failure)
            self._reconnect_later()
            return
        self._tell_lost(failure)
        if self._is_closing:
            self.loop.stop()
        elif self._owner.wants_connection():
            self._reconnect_later()

    def _lost(self, error: DomainEventBrokerError) -> None:
        self._forget_connection(error)
        self._tell_lost(error)

    def _forget_connection(self, error: DomainEventBrokerError) -> None:
        log.log(self._level_of(error), "%s: %s", self._purpose, error)
        self._connection = None
        self._is_opening = False
        if is_steady_since(self._settled_at):
            self._losses = 0
        self._settled_at = None
        self._losses += 1
        self._nodes.append(self._nodes.pop(0))  # the next one's turn

    def _tell_lost(self, error: DomainEventBrokerError) -> None:
        untold, self._untold = self._untold, []
        self._owner.on_lost(error if self._is_closing else _summary([*untold, error]))

    def _level_of(self, error: DomainEventBrokerError) -> int:
        """Warn once for the loss; the attempts that follow are for those who look for them."""
        if self._is_closing:
            return logging.DEBUG
        if isinstance(error, ConfigurationError | LimitReached) and self._has_been_open:
            # Before that, it is raised to whoever asked.
            return self._level_of_refusal(error)
        was_open = self._connection is not None and not self._is_opening
        return logging.WARNING if was_open else logging.INFO

    def _level_of_refusal(self, error: DomainEventBrokerError) -> int:
        if str(error) in self._refusals:
            return logging.INFO
        self._refusals.add(str(error))
        return logging.ERROR if isinstance(error, ConfigurationError) else logging.WARNING

    def settled(self) -> None:
        """The connection works. Once that lasts, the next loss starts the backoff anew."""
        if self._settled_at is not None:
            return
        if self._losses and self._has_settled:
            log.warning("%s: connected to %s again.", self._purpose, self.node.safe_url)
        self._has_settled = True
        self._settled_at = time.monotonic()
        self._refusals.clear()

    def _reconnect_later(self) -> None:
        if self._connection is not None or self._reconnect_timer is not None:
            return
        delay_seconds = 0.0
        if not self._is_within_round:
            delay_seconds = backoff_seconds(
                max(self._rounds - 1, 0),
                self.settings.reconnect_delay_seconds,
                self.settings.max_reconnect_delay_seconds,
            )
        log.info(
            "%s: connecting to %s in %.1f s.", self._purpose, self.node.safe_url, delay_seconds
        )
        self._reconnect_timer = self.loop.call_later(delay_seconds, self._connect)

    def _close_in_loop(self) -> None:
        if self._connection is None:
            self.loop.stop()
        elif self._connection.is_open or self._is_opening:
            self._connection.close()

    def _abort_in_loop(self) -> None:
        if self._connection is not None and not self._is_opening:
            self._connection.abort("no goodbye in time")
            close_descriptors(self._connection, None)  # the loop ends before pika does it
        self.loop.stop()
        self._connection = None

    # In a forked child

    def forget_after_fork(self) -> None:
        """Give up what belongs to the parent; the next use connects anew."""
        close_descriptors(self._connection, self._loop)
        self._reset()
        self._owner.forget()


def _summary(errors: list[DomainEventBrokerError]) -> DomainEventBrokerError:
    """What to tell the owner, of what each node answered in one round."""
    if len(errors) == 1:
        return errors[0]
    told = "; ".join(str(error).removesuffix(".") for error in errors)
    are_final = all(isinstance(error, ConfigurationError) for error in errors)
    summary = (type(errors[-1]) if are_final else BrokerUnavailable)(f"{told}.")
    summary.__cause__ = errors[-1]
    return summary


_live: weakref.WeakSet[ConnectionThread] = weakref.WeakSet()


def _forget_all_after_fork() -> None:
    for connection in list(_live):
        connection.forget_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all_after_fork)
