"""``run_subscriber`` in several processes: what may not be, what each does, how all of it ends."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NoReturn

from django.db import connections

from ..errors import ConfigurationError, DomainEventBrokerError, HandlerError, SettingsError
from ..settings import Settings
from ..transports import transport_for
from .console import Console, Marked, Output, showing_warnings, write_line
from .registry import RegisteredHandler
from .running import HandlerRun, Limits
from .stopping import stopping_on_signals
from .supervised import MISCONFIGURED, Supervised
from .supervising import Supervisor


@dataclass(frozen=True, slots=True)
class Job:
    """What each of the processes is to do."""

    handlers: Sequence[RegisteredHandler]
    settings: Settings
    limits: Limits
    began_at: float = field(default_factory=time.monotonic)

    def limits_from_now(self) -> Limits:
        """The limits, of whose time a part is over: one that was replaced gets no more of it."""
        seconds = self.limits.time_limit_seconds
        if seconds is None:
            return self.limits
        left = max(self.began_at + seconds - time.monotonic(), 0.0)
        return replace(self.limits, time_limit_seconds=left)


def handle(job: Job, console: Console, supervised: Supervised | None = None) -> None:
    """Do the job, in one of several processes or in the only one."""
    run = HandlerRun(
        job.handlers,
        job.settings,
        job.limits_from_now(),
        tends=supervised is None or supervised.role == 0,
        on_ready=console.one_is_ready
        if supervised
        else partial(console.ready, job.handlers, job.settings),
        on_report=console.report,
    )
    with stopping_on_signals(run.stop):
        if supervised is not None:
            supervised.follow(run.stop)
        run.run()


def check_can_be_shared(job: Job) -> None:
    """Raises `ConfigurationError` where a second process could not do the same."""
    if not transport_for(job.settings).capabilities.persistent:
        raise SettingsError(f"{job.settings.safe_url} is in one process: run only that one.")
    for handler in job.handlers:
        if handler.exclusive:
            raise HandlerError(
                f"The handler {handler.name!r} is exclusive, which only one process can have: run "
                "it by a command of its own, and exclude it here."
            )


def supervise(count: int, job: Job) -> tuple[Supervisor, Supervised | None]:
    """Run so many processes. Returns in each of them, and in this one when they have ended."""
    for connection in connections.all(initialized_only=True):
        connection.close()
        if hasattr(connection, "close_pool"):
            connection.close_pool()
    supervisor = Supervisor(count, is_limited=job.limits.ends_by_itself)
    with stopping_on_signals(supervisor.stop, insist=supervisor.kill):
        return supervisor, supervisor.run()


def serve(
    supervised: Supervised, job: Job, stdout: Output, stderr: Output, verbosity: int
) -> NoReturn:
    """Do the job in one of the processes, which ends with it, whoever called the command."""
    stdout, stderr = (Marked(output, supervised.role + 1) for output in (stdout, stderr))
    with showing_warnings(stderr, verbosity):
        try:
            handle(job, Console(stdout, stderr, verbosity), supervised)
        except ConfigurationError as error:
            supervised.complain(str(error))  # all of them would, in a row
            sys.exit(MISCONFIGURED)
        except DomainEventBrokerError as error:
            write_line(stderr, str(error))
            sys.exit(1)
    sys.exit()
