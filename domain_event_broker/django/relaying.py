"""The relay: sends what is in the outbox and nobody is sending."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from django.db import connections
from django.db.utils import Error as DatabaseError

from ..errors import ConfigurationError, DomainEventBrokerError
from ..retrying import backoff_seconds
from ..settings import Settings
from .databases import aliases_with, is_missing_table, translate, waiting_out_locks
from .forking import gate
from .leases import new_token
from .models import OutboxEvent
from .querysets import OutboxRow
from .sending import RowSender, outbox
from .stopping import StopSign

log = logging.getLogger(__name__)

#: Rows that are claimed, sent and deleted together.
BATCH = 1_000
# While the broker is away, as few as tell that it is back.
_PROBE = 10
# Between looks for what is due, while the last found nothing.
IDLE_SECONDS = 1.0
# A database that has no outbox, or is away, is asked again after so long.
_NO_OUTBOX_SECONDS = 60.0
_AWAY_SECONDS = 5.0
# While draining, between looks whether others have sent what they hold.
_DRAIN_POLL_SECONDS = 0.1


@dataclass(slots=True)
class Relayed:
    """What sweeps came to."""

    sent: int = 0
    parked: int = 0
    postponed: int = 0
    #: Why the last sweep ended before all was sent.
    outage: DomainEventBrokerError | None = None


class Claim(NamedTuple):
    """Rows that we hold, and since when, by `time.monotonic`."""

    rows: Sequence[OutboxRow]
    claimed_at: float


class Relay:
    """Sends due rows to the broker of `settings`, from each database that has an outbox.

    Any number of relays may run at once, in any number of processes. Each is for one thread.

    :param aliases: the databases; by default all that migrations may have put an outbox into.
    :param stop: set it to end `run` and `sweep` soon.
    """

    def __init__(
        self,
        settings: Settings,
        aliases: Sequence[str] | None = None,
        stop: StopSign | None = None,
    ) -> None:
        self.token = new_token()
        self._settings = settings
        self._aliases = list(aliases_with(OutboxEvent) if aliases is None else aliases)
        self._are_named = aliases is not None
        self._absent_until: dict[str, float] = {}
        self._stop = stop or StopSign()
        self._was_out = False
        self._sender = RowSender(settings, self.token)

    def run(self) -> None:
        """Sweep until told to stop; wait ever longer while the broker is away."""
        failures = 0
        while not self._stop.is_set():
            with gate.inside():
                outage = self.sweep_or_log().outage
            failures = failures + 1 if outage is not None else 0
            self._stop.wait(self.pause_seconds(failures) if failures else IDLE_SECONDS)

    def pause_seconds(self, failures: int) -> float:
        """How long to wait after so many sweeps in a row that the broker ended."""
        return backoff_seconds(
            failures - 1,
            self._settings.reconnect_delay_seconds,
            self._settings.max_reconnect_delay_seconds,
        )

    def sweep_or_log(self, most: float = math.inf) -> Relayed:
        """As `sweep`; what it raises is logged, and becomes the outage."""
        try:
            return self.sweep(most)
        except DomainEventBrokerError as error:
            log.error("The outbox is not relayed: %s", error)
            return Relayed(outage=error)
        except Exception as error:
            log.exception("Unexpected error while relaying the outbox.")
            return Relayed(outage=DomainEventBrokerError(str(error)))

    def sweep(self, most: float = math.inf) -> Relayed:
        """Send all that is due, and return when nothing is or the broker takes no more.

        Also once `most` were sent, or somewhat more. Raises `MissingTables` for a named database.
        """
        relayed = Relayed()
        for alias in self._there():
            if relayed.outage is None and relayed.sent < most:
                self._sweep_database(alias, relayed, most)
        self._tell_change(relayed)
        return relayed

    def drain(self, is_over: Callable[[], bool] = lambda: False) -> Relayed:
        """Sweep until nothing is left but what waits for another attempt, or is parked.

        What others hold is waited for: they send it, or their leases end. Ends before where
        `is_over` says so, or the broker takes no more. Raises as `sweep` does.
        """
        total = Relayed()
        while not (self._stop.is_set() or is_over()):
            swept = self.sweep()
            total.sent += swept.sent
            total.parked += swept.parked
            total.postponed += swept.postponed
            total.outage = swept.outage
            if swept.outage is not None or not self._others_hold_any():
                break
            self._stop.wait(_DRAIN_POLL_SECONDS)
        return total

    def has_postponed(self, seconds: float) -> bool:
        """Whether rows wait for another attempt that are due in so long, or now."""
        return any(outbox(alias).postponed(seconds).exists() for alias in self._there())

    def close(self) -> None:
        """End what runs beside the sweeps."""
        self._sender.close()

    def _there(self) -> list[str]:
        """The databases, without those that were away or had no outbox just now."""
        now = time.monotonic()
        return [alias for alias in self._aliases if self._absent_until.get(alias, 0.0) <= now]

    def _sweep_database(self, alias: str, relayed: Relayed, most: float) -> None:
        limit = _PROBE if self._was_out else BATCH
        try:
            # A look first: a claim that finds nothing still writes, where one writes at a time.
            if not outbox(alias).due().exists():
                return
            following: Claim | None = None
            while relayed.outage is None and relayed.sent < most and not self._stop.is_set():
                claim = self._if_fresh(following, alias) or self._claim(alias, limit)
                if not claim.rows:
                    return
                claims_ahead = len(claim.rows) == limit and relayed.sent + limit < most
                following = self._send(claim.rows, alias, relayed, claims_ahead=claims_ahead)
                limit = BATCH
            self._give_back(following, alias)
        except DatabaseError as error:
            self._note_absence(alias, error)

    def _claim(self, alias: str, limit: int) -> Claim:
        lease_seconds = self._settings.lease_seconds
        claimed_at = time.monotonic()
        return Claim(
            waiting_out_locks(lambda: outbox(alias).claim(limit, self.token, lease_seconds)),
            claimed_at,
        )

    def _if_fresh(self, claim: Claim | None, alias: str) -> Claim | None:
        """Give back what we may not hold any more: its leases end while we are stopped."""
        if claim is None:
            return None
        if time.monotonic() < claim.claimed_at + self._settings.lease_seconds / 2:
            return claim
        self._give_back(claim, alias)
        return None

    def _give_back(self, claim: Claim | None, alias: str) -> None:
        if claim is not None:
            outbox(alias).held_by(self.token, [row.id for row in claim.rows]).give_back()

    def _send(
        self, rows: Sequence[OutboxRow], alias: str, relayed: Relayed, *, claims_ahead: bool
    ) -> Claim | None:
        """Send and settle; what was claimed meanwhile is to be sent next, or given back."""
        following: Claim | None = None

        def claim_following() -> Sequence[OutboxRow]:
            nonlocal following
            if not claims_ahead:
                return ()
            with suppress(DatabaseError):  # what is wrong tells whoever is next
                following = self._claim(alias, BATCH)
            return following.rows if following else ()

        sent = self._sender.send(rows, alias, claim_following)
        self._sender.settle(sent.ids, alias)
        relayed.sent += len(sent.ids)
        relayed.parked += sent.parked
        relayed.postponed += sent.postponed
        relayed.outage = sent.outage
        return following if following and following.rows else None

    def _others_hold_any(self) -> bool:
        for alias in self._there():
            try:
                if outbox(alias).leased().exists():
                    return True
            except DatabaseError as error:
                self._note_absence(alias, error)
        return False

    def _note_absence(self, alias: str, error: DatabaseError) -> None:
        connections[alias].close()
        told = translate(error, alias)
        if self._are_named and isinstance(told, ConfigurationError):
            raise told from error
        is_missing = is_missing_table(error)
        log.log(
            logging.DEBUG if is_missing else logging.WARNING,
            "The outbox of %r is left out for now: %s",
            alias,
            told,
        )
        pause_seconds = _NO_OUTBOX_SECONDS if is_missing else _AWAY_SECONDS
        self._absent_until[alias] = time.monotonic() + pause_seconds

    def _tell_change(self, relayed: Relayed) -> None:
        if relayed.outage is not None:
            if not self._was_out:
                is_wrong = isinstance(relayed.outage, ConfigurationError)
                level = logging.ERROR if is_wrong else logging.WARNING
                log.log(level, "Events wait in the outbox: %s", relayed.outage)
            self._was_out = True
        elif self._was_out and relayed.sent:  # a sweep that found nothing due tells nothing
            log.warning("Events leave the outbox again.")
            self._was_out = False


def has_outbox() -> bool:
    """Whether there is a database that an outbox may be in."""
    return bool(aliases_with(OutboxEvent))


class RelayThread:
    """A `Relay` that runs beside something else."""

    def __init__(self, settings: Settings) -> None:
        self._stop = StopSign()
        self._relay = Relay(settings, stop=self._stop)
        self._thread = threading.Thread(
            target=self._run, name="domain-event-broker relay", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """Ask it to end and wait so long at most. What it is sending is settled first."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)

    def _run(self) -> None:
        try:
            self._relay.run()
        finally:
            self._relay.close()
            connections.close_all()
