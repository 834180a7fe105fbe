"""Forks wait until the threads of this package are out of the database.

A child has the forking thread only, and a copy of every lock as it was: what another thread held is
held forever. Python's, libc's and OpenSSL's locks are seen to by themselves; SQLite's are not, and
the child's first statement would never return (https://www.sqlite.org/howtocorrupt.html, 2.6).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# A thread that is in a statement for longer waits for a lock or a server: the fork goes on then.
_MAX_WAIT_SECONDS = 5.0


class ForkGate:
    """Threads work inside of it; a fork begins when none is inside, and lets none in meanwhile.

    Only what is in a database need be inside: a fork that waits holds up its thread.
    """

    def __init__(self) -> None:
        self._reset_lock()
        self._inside: set[int] = set()
        self._forks = 0

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Keep forks of other threads waiting for what is done here, seconds at most."""
        me = threading.get_ident()
        if me in self._inside:
            yield
            return
        self._enter(me)
        try:
            yield
        finally:
            self._leave(me)

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Let forks begin while something else is waited for, such as a broker."""
        me = threading.get_ident()
        if me not in self._inside:
            yield
            return
        self._leave(me)
        try:
            yield
        finally:
            self._enter(me)

    def _enter(self, thread: int) -> None:
        with self._lock:
            self._changed.wait_for(lambda: not self._forks)
            self._inside.add(thread)

    def _leave(self, thread: int) -> None:
        with self._lock:
            self._inside.discard(thread)
            self._changed.notify_all()

    def before_fork(self) -> None:
        me = {threading.get_ident()}
        with self._lock:
            self._forks += 1
            self._changed.wait_for(lambda: self._inside <= me, _MAX_WAIT_SECONDS)

    def after_in_parent(self) -> None:
        with self._lock:
            self._forks -= 1
            self._changed.notify_all()

    def _reset_lock(self) -> None:
        # Taken by itself: what a signal handler raises, such as a soft time limit, may end the
        # methods of a `Condition` with the lock held, which nobody frees.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)

    def after_in_child(self) -> None:
        self._reset_lock()
        self._inside = self._inside & {threading.get_ident()}
        self._forks = 0


gate = ForkGate()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=gate.before_fork,
        after_in_parent=gate.after_in_parent,
        after_in_child=gate.after_in_child,
    )
