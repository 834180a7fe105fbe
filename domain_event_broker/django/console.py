"""What the commands write: one line each, never a payload or a password."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from django.core.management.base import CommandError

from ..errors import DomainEventBrokerError
from ..handling import Ending, Report
from ..retrying import Retry
from ..settings import Settings
from .registry import RegisteredHandler

SILENT, NORMAL, VERBOSE, DEBUG = range(4)

_FAILURES = (Ending.DEAD_LETTERED, Ending.DISCARDED)
_VERBOSITIES = {
    Ending.RETRIED: NORMAL,
    Ending.RELEASED: NORMAL,
    Ending.HANDLED: VERBOSE,
    Ending.DUPLICATE: VERBOSE,
    Ending.POSTPONED: DEBUG,
}
_LEVELS = {NORMAL: logging.WARNING, VERBOSE: logging.INFO, DEBUG: logging.DEBUG}
_MAX_ERROR_CHARACTERS = 300


class Output(Protocol):
    """Of Django's `OutputWrapper`, what is used here."""

    def write(self, msg: str) -> object: ...

    def flush(self) -> object: ...


class Console:
    """Writes what a run does, as far as `verbosity` asks for it; usable from any thread.

    0: nothing. 1: when it is ready, and each failed attempt. 2: each handled event, too.
    """

    def __init__(self, stdout: Output, stderr: Output, verbosity: int) -> None:
        self._stdout = stdout
        self._stderr = stderr
        self._verbosity = verbosity

    def ready(self, handlers: Sequence[RegisteredHandler], settings: Settings) -> None:
        self._tell(NORMAL, f"Ready: running {_counted(handlers)} on {settings.safe_url}.")
        self._list(handlers)

    def starting(
        self, processes: int, handlers: Sequence[RegisteredHandler], settings: Settings
    ) -> None:
        """Instead of what each of several processes would say."""
        running = f"running {_counted(handlers)} on {settings.safe_url}"
        self._tell(NORMAL, f"Starting {processes} processes, each {running}.")
        self._list(handlers)

    def one_is_ready(self) -> None:
        self._tell(NORMAL, f"Ready: pid {os.getpid()}.")

    def _list(self, handlers: Sequence[RegisteredHandler]) -> None:
        for handler in handlers:
            self._tell(VERBOSE, f"  {handler.name}: {', '.join(handler.binding_keys)}")

    def report(self, report: Report) -> None:
        verbosity = _VERBOSITIES.get(report.ending, NORMAL)
        if verbosity <= self._verbosity:
            output = self._stderr if report.ending in _FAILURES else self._stdout
            write_line(output, describe(report))

    def _tell(self, verbosity: int, line: str) -> None:
        if verbosity <= self._verbosity:
            write_line(self._stdout, line)


class Marked:
    """An output whose lines begin with the number of the process that writes them."""

    def __init__(self, output: Output, number: int) -> None:
        self._output = output
        self._number = number

    def write(self, msg: str) -> object:
        return self._output.write(f"[{self._number}] {msg}")

    def flush(self) -> object:
        return self._output.flush()


def _counted(handlers: Sequence[RegisteredHandler]) -> str:
    return f"{len(handlers)} handler" + ("s" if len(handlers) != 1 else "")


def describe(report: Report) -> str:
    """One line that says what became of a delivery."""
    told = f"{report.handler}: event {report.event_id} ({report.routing_key!r}) "
    if report.ending is Ending.HANDLED:
        told += "was handled"
    elif report.ending is Ending.DUPLICATE:
        told += "was handled before"
    elif report.ending is Ending.RELEASED:
        told += "goes back: it could not be handled now"
    elif report.ending is Ending.POSTPONED:
        told += "came before its time and waits on"
    elif report.ending is Ending.RETRIED:
        told += f"comes back in {report.delay_seconds or 0:g} s as retry {report.retries + 1}"
    else:
        told += f"was {report.ending.value}"
        told += f" ({report.reason.value})" if report.reason else ""
    return _one_line(told + _error_of(report))


def write_line(output: Output, line: str) -> None:
    """Write and flush; a reader that has gone away must not end what is being reported on."""
    try:
        output.write(line)
        output.flush()
    except (OSError, ValueError):
        pass


@contextmanager
def showing_warnings(stderr: Output, verbosity: int) -> Iterator[None]:
    """Write this package's log records to `stderr` where the project has not configured logging.

    Python would write them itself otherwise, those included that `Console` has told already.
    """
    logger = logging.getLogger("domain_event_broker")
    if logger.hasHandlers():
        yield
        return
    handler = _ConsoleHandler(stderr, verbosity) if verbosity else logging.NullHandler()
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(_LEVELS.get(verbosity, logging.WARNING))
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


@contextmanager
def telling_errors(stderr: Output, verbosity: int) -> Iterator[None]:
    """Show warnings, and have Django tell of our errors in a line instead of a traceback."""
    with showing_warnings(stderr, verbosity):
        try:
            yield
        except DomainEventBrokerError as error:
            raise CommandError(str(error)) from error


class _ConsoleHandler(logging.Handler):
    def __init__(self, stderr: Output, verbosity: int) -> None:
        super().__init__()
        self._stderr = stderr
        self._is_debugging = verbosity >= DEBUG

    def emit(self, record: logging.LogRecord) -> None:
        if self._is_debugging:
            write_line(self._stderr, self.format(record))
        elif record.name != "domain_event_broker.handling":
            write_line(self._stderr, _one_line(record.getMessage()))


def _error_of(report: Report) -> str:
    error = report.error
    if error is None or type(error) is Retry:
        return "."
    text = report.error_message or ""
    return f": {type(error).__name__}{': ' if text else ''}{text[:_MAX_ERROR_CHARACTERS]}"


def _one_line(text: str) -> str:
    # An event's key and an error's text come from elsewhere: no escape sequences, no extra lines.
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
