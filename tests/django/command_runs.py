"""Commands called in this process, and handlers that keep what they get."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import StringIO
from typing import Any

from django.core.management import call_command

from domain_event_broker import DomainEvent
from domain_event_broker.django import domain_event_handler
from tests.support.threads import start_thread


@dataclass
class Output:
    stdout: str
    stderr: str


def run(*names: str, **options: Any) -> Output:
    """Run ``run_subscriber`` to its end."""
    stdout, stderr = StringIO(), StringIO()
    call_command("run_subscriber", *names, stdout=stdout, stderr=stderr, **options)
    return Output(stdout.getvalue(), stderr.getvalue())


def drain(*names: str, **options: Any) -> Output:
    return run(*names, drain=True, **options)


class Handled:
    """A handler that keeps what it gets."""

    def __init__(self, *binding_keys: str, name: str, **options: Any) -> None:
        self.name = name
        self.events: list[DomainEvent] = []
        domain_event_handler(*binding_keys, name=name, **options)(self.handle)

    def handle(self, event: DomainEvent) -> None:
        self.events.append(event)


class Failing:
    """A handler that fails while it is told to."""

    def __init__(self, name: str, error: Exception | None = None) -> None:
        self.handled: list[DomainEvent] = []
        self.fails = True
        self._error = error or ValueError("not yet")
        domain_event_handler("order.*", name=name)(self.handle)

    def handle(self, event: DomainEvent) -> None:
        if self.fails:
            raise self._error
        self.handled.append(event)


def replay(*arguments: str, verbosity: int = 1, stdout: StringIO | None = None) -> str:
    """Run ``replay_dead_letters`` with these arguments; return what it wrote."""
    stdout = stdout or StringIO()
    call_command("replay_dead_letters", *arguments, verbosity=verbosity, stdout=stdout)
    return stdout.getvalue()


def call(command: str, *arguments: str, **options: Any) -> Output:
    """Run any command, with its arguments as a shell has them."""
    stdout, stderr = StringIO(), StringIO()
    call_command(command, *arguments, stdout=stdout, stderr=stderr, **options)
    return Output(stdout.getvalue(), stderr.getvalue())


@contextmanager
def command_in_thread(**options: Any) -> Iterator[threading.Thread]:
    """``run_subscriber`` beside the test; ask it to end by other means."""
    thread = start_thread(partial(run, **options))
    yield thread
    thread.join(30)
    assert not thread.is_alive()
