"""A clock, a broker and a project for the machines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from hypothesis.configuration import set_hypothesis_home_dir
from pytest_django import Settings as DjangoSettings

from domain_event_broker import transports
from domain_event_broker.django import background, conf
from domain_event_broker.django.background import Committed
from domain_event_broker.django.leases import LeaseKeeper
from domain_event_broker.django.registry import registry
from domain_event_broker.django.transport import waking
from domain_event_broker.events import DomainEvent
from domain_event_broker.settings import Settings
from domain_event_broker.transports import SCHEMES, transport_for

from .broker import SCHEME, FaultyTransport
from .clock import clock_of
from .core_machine import CoreMachine
from .project_machine import EFFECTS, ProjectMachine
from .queues import BrokersQueues, DatabaseQueues, Queues
from .turns import BACKOFF, CRASH_ATTEMPTS, HANDLERS, KEYS_OF, MAX_RETRIES

_NO_WAIT = "SET synchronous_commit TO OFF"


@pytest.fixture(autouse=True, scope="session")
def _notes_of_hypothesis(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Not in the project's folder, where it keeps them by default."""
    set_hypothesis_home_dir(tmp_path_factory.mktemp("hypothesis"))


@pytest.fixture
def core_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[CoreMachine]]:
    """The machine of the core, on a broker of its own."""
    settings = Settings(
        url=f"{SCHEME}://{uuid4()}",
        crash_attempts=CRASH_ATTEMPTS,
        # Two tries at most: a caller is to see failures, too.
        publish_timeout_seconds=0.05,
    )
    transport = FaultyTransport(settings)
    monkeypatch.setitem(transports._transports, settings, transport)
    with clock_of(with_django=False) as clock:
        yield type("CoreMachine", (CoreMachine,), {"transport": transport, "clock": clock})


@pytest.fixture
def hasty_database(transactional_db: None) -> Iterator[None]:
    """One that does not wait for the disk: no power is cut here, and there are many commits."""

    def hasten(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
        with connection.cursor() as cursor:
            is_sqlite = connection.vendor == "sqlite"
            cursor.execute("PRAGMA synchronous = OFF" if is_sqlite else _NO_WAIT)

    connection.close()
    connection_created.connect(hasten)
    yield
    connection_created.disconnect(hasten)
    connection.close()


@pytest.fixture
def effects_table(hasty_database: None) -> Iterator[None]:
    """Where the handlers of the project write what they did."""
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {EFFECTS} (handler varchar(40), event varchar(40))")
    yield
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {EFFECTS}")


@pytest.fixture
def outbox_machine(
    effects_table: None, settings: DjangoSettings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[type[ProjectMachine]]:
    """The machine of a project with a broker: outbox, inbox, and the table of dead letters."""
    place = FaultyTransport.__module__, FaultyTransport.__name__
    monkeypatch.setitem(SCHEMES, SCHEME, place)
    settings.DOMAIN_EVENT_BROKER = _broker(f"{SCHEME}://{uuid4()}")
    transport = transport_for(conf.required())
    assert isinstance(transport, FaultyTransport)
    with _project(BrokersQueues(transport), 100, monkeypatch) as machine:
        yield machine


@pytest.fixture
def table_machine(
    effects_table: None, settings: DjangoSettings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[type[ProjectMachine]]:
    """The machine of a project whose queues are tables."""
    settings.DOMAIN_EVENT_BROKER = _broker("database://")
    with _project(DatabaseQueues(), 60, monkeypatch) as machine:
        yield machine


def _broker(url: str) -> dict[str, Any]:
    # With a prefetch of one nothing is claimed that no handler has.
    return {"URL": url, "SERVICE": "shop", "CRASH_ATTEMPTS": CRASH_ATTEMPTS, "PREFETCH": 1}


@contextmanager
def _project(
    queues: Queues, examples: int, monkeypatch: pytest.MonkeyPatch
) -> Iterator[type[ProjectMachine]]:
    """A project whose threads are stepped: it has none."""
    monkeypatch.setattr(LeaseKeeper, "start", lambda keeper: None)
    monkeypatch.setattr(waking, "can_listen", lambda connection: False)
    monkeypatch.setattr(registry, "_declarations", [])
    for name in HANDLERS:
        _declare(name)
    with clock_of(with_django=True) as clock:
        facts = {
            "examples": examples,
            "settings": conf.required(),
            "queues": queues,
            "clock": clock,
        }
        machine = type("ProjectMachine", (ProjectMachine,), facts)
        monkeypatch.setattr(background, "publisher", HandedOver())
        monkeypatch.setattr(background.token, "_token", str(background.token))
        with connection.execute_wrapper(_around_statement):
            yield machine


def _declare(name: str) -> None:
    def handle(event: DomainEvent) -> None:
        ProjectMachine.current.run(name, event)

    has_backoff = name == "bill"
    registry.handler(
        *KEYS_OF[name],
        name=name,
        max_retries=0 if has_backoff else MAX_RETRIES[name],
        backoff=BACKOFF if has_backoff else None,
    )(handle)


class HandedOver:
    """In place of the background publisher: the acting process keeps what it is to send."""

    def hand_over(self, events: Sequence[Committed]) -> None:
        ProjectMachine.current.hand_over(events)


def _around_statement(*statement: Any) -> Any:
    return ProjectMachine.current.stage.faults.around_statement(*statement)
