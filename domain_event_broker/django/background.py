"""The background publisher: sends events once their transaction has committed.

One thread a process. Commit hooks hand it what they wrote to the outbox and go on at once. It is no
more than a shortcut: what it does not send, for whatever reason, is in the outbox, and the relay's.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import field
from itertools import groupby

from django.db import connections
from django.db.utils import Error as DatabaseError

from ..errors import DomainEventBrokerError
from ..settings import Settings
from ..values import value
from .forking import gate
from .leases import ProcessToken
from .querysets import OutboxRow
from .relaying import Relay
from .sending import RowSender, outbox

log = logging.getLogger(__name__)

# Events that wait for the thread; what comes beyond is left to the relay.
_MAX_WAITING = 10_000
_BATCH = 500
# While several events come at a time, sends begin no closer to each other than this: what comes
# meanwhile goes together.
_COALESCE_SECONDS = 0.005
# Rows of confirmed events are deleted together: from so many on, or after so long.
_SETTLE_ROWS = 500
_SETTLE_SECONDS = 0.1
_SETTLE_AGAIN_SECONDS = 1.0
# While somebody waits until all is sent.
_FLUSH_POLL_SECONDS = 0.002
# What a process that died has left behind is looked for soon after the first event, and then
# every minute.
_FIRST_SWEEP_SECONDS = 1.0
_SWEEP_SECONDS = 60.0
# While events wait for another attempt.
_POSTPONED_SECONDS = 1.0
# What is left to the sweeps is due once its leases have ended, and its rows were written a moment
# after these were reckoned.
_LEASE_MARGIN_SECONDS = 1.0
# An idle thread keeps its database connections no longer than this.
_IDLE_SECONDS = 1.0


@value
class Committed:
    """An event that was committed to the outbox of `alias`."""

    row: OutboxRow = field(repr=False)
    alias: str
    settings: Settings = field(repr=False)
    #: By `time.monotonic`, when the lease of its row ends.
    leased_until: float


class BackgroundPublisher:
    """Sends what is handed over, in that order. `hand_over` may be called from any thread."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._waiting: deque[Committed] = deque()
        # Those who hand over take the lock itself: what a signal handler raises, such as a soft
        # time limit, may end the methods of a `Condition` with the lock held, which nobody frees.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._is_working = False
        self._is_closing = False
        self._exit_seconds = 0.0
        # What there was no room for.
        self._overflow: Sequence[Committed] = ()

    def hand_over(self, events: Sequence[Committed]) -> None:
        """Have committed events sent soon. Returns at once, and raises nothing."""
        with self._lock:
            room = _MAX_WAITING - len(self._waiting)
            if room < len(events):
                log.debug("%d events are left to the relay.", len(events) - max(room, 0))
                self._overflow = events[-1:]
            self._waiting.extend(events[: max(room, 0)])
            self._exit_seconds = events[-1].settings.publish_timeout_seconds if events else 0.0
            if self._thread is None and not self._is_closing:
                self._start()
            self._changed.notify()

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until all that was handed over is sent, or left to the relay; tell whether it is."""
        deadline = time.monotonic() + timeout_seconds
        while not self._is_done():
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return False
            time.sleep(min(remaining, _FLUSH_POLL_SECONDS))
        return True

    def close(self, timeout_seconds: float | None = None) -> None:
        """Send what was handed over, as far as there is time; then end the thread.

        By default there is as much time as one publish may take.
        """
        if self._thread is None or self._thread is threading.current_thread():
            return
        if timeout_seconds is None:
            timeout_seconds = self._exit_seconds
        self.flush(timeout_seconds)
        try:
            with self._lock:
                self._is_closing = True
                self._changed.notify()
                thread = self._thread
            if thread is not None:
                thread.join(timeout_seconds)
        finally:
            self._is_closing = False  # for whoever publishes still later

    def _is_done(self) -> bool:
        with self._lock:
            return self._thread is None or not (self._waiting or self._is_working)

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="domain-event-broker outbox", daemon=True)
        try:
            thread.start()
            # Not before: what a signal handler raises may have ended this before the thread began.
            self._thread = thread
        except RuntimeError:  # no threads any more, at the interpreter's end: the relay sends them
            self._waiting.clear()

    # In the thread

    def _is_the_one(self) -> bool:
        """Whether this thread is the publisher's: one whose start was interrupted has a rival."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.current_thread()
            return self._thread is threading.current_thread()

    def _run(self) -> None:
        if not self._is_the_one():
            return
        shift = _Shift()
        try:
            while (events := self._next(shift)) is not None:
                with gate.inside():
                    shift.work(events)
        except BaseException:
            log.exception("The background publisher ends; the relay sends what is left.")
        finally:
            with gate.inside():
                shift.end()
            with self._changed:
                self._thread = None
                self._is_working = False
                self._waiting.clear()

    def _next(self, shift: _Shift) -> list[Committed] | None:
        """What is there to send, once there is or the shift has something else to do.

        ``None`` at the end.
        """
        with self._changed:
            self._is_working = shift.has_unsettled
            self._changed.wait_for(
                lambda: self._waiting or self._is_closing, shift.seconds_until_due()
            )
            if self._is_closing and not self._waiting:
                return None
            self._is_working = True
            overflow, self._overflow = self._overflow, ()
        shift.leave(overflow)
        if self._waiting:
            shift.coalesce()
        count = min(len(self._waiting), _BATCH)
        return [self._waiting.popleft() for _ in range(count)]


class _Shift:
    """What the thread knows: what to delete, whether the broker is away, when to sweep."""

    def __init__(self) -> None:
        self._token = str(token)
        self._sender: RowSender | None = None
        self._relay: Relay | None = None
        self._unsettled: dict[str, list[int]] = {}
        self._failures = 0
        # When the last lease ends of what was left to the sweeps.
        self._left_until = 0.0
        self._last_begin = self._last_send = self._last_work = time.monotonic()
        self._is_busy = False
        self._settle_at = self._sweep_at = math.inf
        self._is_idle = True

    @property
    def has_unsettled(self) -> bool:
        return bool(self._unsettled)

    def seconds_until_due(self) -> float:
        """How long there is nothing to do unless something is handed over."""
        idle_at = math.inf if self._is_idle else self._last_work + _IDLE_SECONDS
        due_at = min(self._settle_at, self._sweep_at, idle_at)
        return min(max(due_at - time.monotonic(), 0.0), _SWEEP_SECONDS)

    def coalesce(self) -> None:
        """Wait for company, if the last send had some and was only just now."""
        pause_seconds = self._last_begin + _COALESCE_SECONDS - time.monotonic()
        if self._is_busy and pause_seconds > 0:
            time.sleep(pause_seconds)

    def leave(self, events: Sequence[Committed]) -> None:
        """Leave events to the sweeps, which can send them once their leases have ended."""
        for event in events:
            self._left_until = max(self._left_until, event.leased_until + _LEASE_MARGIN_SECONDS)
        if events:
            self._sweep_at = min(self._sweep_at, self._left_until)

    def work(self, events: Sequence[Committed]) -> None:
        """Send `events`, and do what else is due."""
        has_worked = bool(events) or time.monotonic() >= min(self._settle_at, self._sweep_at)
        try:
            for (alias, _), group in groupby(events, key=lambda e: (e.alias, e.settings)):
                self._send(list(group), alias)
            now = time.monotonic()
            if now >= self._settle_at:
                self._settle()
            if now >= self._sweep_at:
                self._sweep()
        except (DatabaseError, DomainEventBrokerError) as error:
            connections.close_all()  # one that broke would stay so
            self.leave(events)
            self._fail(error)
        self._rest(has_worked)

    def end(self) -> None:
        try:
            self._settle()
        except DatabaseError as error:
            log.warning("Events that were sent may be sent twice: %s", error)
        finally:
            for part in (self._sender, self._relay):
                if part is not None:
                    part.close()
            connections.close_all()

    def _send(self, events: Sequence[Committed], alias: str) -> None:
        if self._failures:
            self.leave(events)
            return
        sender = self._sender_for(events[0].settings)
        rows = self._held(events, alias)
        if not rows:
            return
        self._last_begin, self._is_busy = time.monotonic(), len(rows) > 1
        sent = sender.send(rows, alias)
        self._last_send = time.monotonic()
        if sent.ids:
            self._unsettled.setdefault(alias, []).extend(sent.ids)
            self._settle_at = min(self._settle_at, self._last_send + _SETTLE_SECONDS)
            if self._sweep_at == math.inf:
                self._sweep_at = self._last_send + _FIRST_SWEEP_SECONDS
        if any(len(ids) >= _SETTLE_ROWS for ids in self._unsettled.values()):
            self._settle_at = self._last_send
        if sent.outage is not None:
            self._fail(sent.outage)

    def _held(self, events: Sequence[Committed], alias: str) -> list[OutboxRow]:
        """The rows whose leases are ours long enough; those that end soon are renewed."""
        settings = events[0].settings
        # While they are sent, the leases are kept.
        enough_until = time.monotonic() + settings.lease_seconds / 2
        ending = [event.row.id for event in events if event.leased_until < enough_until]
        if not ending:
            return [event.row for event in events]
        held = outbox(alias).held_by(self._token, ending)
        renewed = held.renew(settings.lease_seconds)
        lost = set(ending) - set(held.values_list("pk", flat=True) if renewed else ())
        return [event.row for event in events if event.row.id not in lost]

    def _settle(self) -> None:
        # Kept where the database is away: while the leases last, the rows can still be deleted.
        self._settle_at = time.monotonic() + _SETTLE_AGAIN_SECONDS
        for alias, ids in list(self._unsettled.items()):
            if self._sender is not None:
                self._sender.settle(ids, alias)
            del self._unsettled[alias]
        self._settle_at = math.inf

    def _sweep(self) -> None:
        if self._sender is None:
            self._sweep_at = math.inf
            return
        if self._relay is None:
            self._relay = Relay(self._sender.settings)
        # Bit by bit, so that a long backlog does not hold up what is committed meanwhile.
        relayed = self._relay.sweep_or_log(most=1)
        if relayed.outage is not None:
            self._fail(relayed.outage)
            return
        self._failures = 0
        self._sweep_at = time.monotonic()
        if not relayed.sent:
            is_any_left = self._sweep_at < self._left_until
            next_sweep = self._left_until if is_any_left else self._sweep_at + _SWEEP_SECONDS
            if self._relay.has_postponed(_SWEEP_SECONDS):
                next_sweep = min(next_sweep, self._sweep_at + _POSTPONED_SECONDS)
            self._sweep_at = next_sweep

    def _fail(self, error: Exception) -> None:
        """The broker, or the database, is away: leave everything to the sweeps until one works."""
        self._failures += 1
        log.info("Committed events wait in the outbox: %s", error)
        if self._sender is not None:
            if self._relay is None:
                self._relay = Relay(self._sender.settings)
            self._sweep_at = time.monotonic() + self._relay.pause_seconds(self._failures)

    def _sender_for(self, settings: Settings) -> RowSender:
        if self._sender is None or self._sender.settings != settings:
            self._settle()
            for part in (self._sender, self._relay):
                if part is not None:
                    part.close()
            self._sender, self._relay = RowSender(settings, self._token), None
        return self._sender

    def _rest(self, has_worked: bool) -> None:
        """Give up idle database connections: the process's other threads may want them."""
        now = time.monotonic()
        if has_worked:
            self._last_work, self._is_idle = now, False
        elif not self._is_idle and now >= self._last_work + _IDLE_SECONDS:
            self._is_idle = True
            connections.close_all()


#: Who holds the rows that this process writes to outboxes.
token = ProcessToken()
publisher = BackgroundPublisher()
atexit.register(publisher.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=publisher._reset)
