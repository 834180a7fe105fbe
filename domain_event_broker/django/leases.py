"""Leases: who works on a row, for how long, and how long work outlasts them."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from uuid import uuid4

from django.db import connections

from .forking import gate

log = logging.getLogger(__name__)

# Of a lease, until it is renewed: two renewals may fail before it ends.
_RENEWALS_PER_LEASE = 3


def new_token() -> str:
    """Names one holder of leases, among all there ever are."""
    return uuid4().hex


class ProcessToken:
    """A token for each process, a forked child's included."""

    def __init__(self) -> None:
        self._token = new_token()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def __str__(self) -> str:
        return self._token

    def _renew(self) -> None:
        self._token = new_token()


class LeaseKeeper:
    """Calls `renew` thrice a lease, in a thread of its own, from `start` until `stop`.

    What `renew` raises is logged and tried again. `kick` has it called at once. `finish` is called
    once, at the end, in the thread.
    """

    def __init__(
        self,
        renew: Callable[[], object],
        lease_seconds: float,
        name: str,
        finish: Callable[[], object] = lambda: None,
    ) -> None:
        self._renew = renew
        self._finish = finish
        self._interval_seconds = lease_seconds / _RENEWALS_PER_LEASE
        self._name = name
        self._wake = threading.Event()
        self._is_stopping = False
        self._thread: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def kick(self) -> None:
        self._wake.set()

    def stop(self, timeout_seconds: float) -> None:
        """End the thread, and wait so long at most. Without one, finish here."""
        self._is_stopping = True
        self._wake.set()
        if self._thread is None:
            self._or_log(self._finish)
        elif self._thread is not threading.current_thread():
            self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while not self._is_stopping:
            self._wake.wait(self._interval_seconds)
            self._wake.clear()
            if not self._is_stopping:
                self._or_log(self._renew)
        self._or_log(self._finish)

    def _or_log(self, work: Callable[[], object]) -> None:
        with gate.inside():
            try:
                work()
            except Exception as error:
                log.warning("%s: %s", self._name, error)
            finally:
                # Seldom used, so not worth keeping a connection of its own.
                if self._thread is threading.current_thread():
                    connections.close_all()
