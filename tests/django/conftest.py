"""A broker in memory, empty for each test, a listener on it, an empty registry, and projects."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import environ
import pytest
from django.core.management import call_command
from pytest_django import DjangoDbBlocker, Settings

from domain_event_broker.django import background, conf
from domain_event_broker.django.registry import Registry, registry
from domain_event_broker.django.signals import event_publish_failed
from domain_event_broker.transports import SCHEMES, transport_for

from .databases import another_database
from .listener import Listener
from .project import Project
from .scripted import SCHEME, MakeScripted, ScriptedTransport

PASSWORD = "open-sesame"


@pytest.fixture(autouse=True)
def broker(settings: Settings) -> str:
    """The URL of an empty broker in memory, which is the project's."""
    url = f"memory://django-{uuid4()}"
    settings.DOMAIN_EVENT_BROKER = {"URL": url, "SERVICE": "shop"}
    return url


@pytest.fixture(autouse=True)
def _no_publisher_left() -> Iterator[None]:
    """End the thread that sends committed events, before the databases are emptied."""
    yield
    background.publisher.close()


@pytest.fixture
def listener(broker: str) -> Iterator[Listener]:
    """Receives every event of the project's broker."""
    with Listener(broker) as listening:
        yield listening


@pytest.fixture
def script(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> MakeScripted:
    """Make the project's broker one that answers as it is told; arguments are further settings."""
    place = ScriptedTransport.__module__, ScriptedTransport.__name__
    monkeypatch.setitem(SCHEMES, SCHEME, place)

    def make(**further: Any) -> ScriptedTransport:
        settings.DOMAIN_EVENT_BROKER = {"URL": f"{SCHEME}://{uuid4()}", **further}
        transport = transport_for(conf.required())
        assert isinstance(transport, ScriptedTransport)
        return transport

    return make


@pytest.fixture
def scripted(script: MakeScripted) -> ScriptedTransport:
    return script()


@pytest.fixture
def failures() -> Iterator[list[dict[str, Any]]]:
    """What `event_publish_failed` told."""
    told: list[dict[str, Any]] = []

    def note(**kwargs: Any) -> None:
        told.append(kwargs)

    event_publish_failed.connect(note)
    yield told
    event_publish_failed.disconnect(note)


@pytest.fixture
def handlers(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The project's registry, empty for the test."""
    monkeypatch.setattr(registry, "_declarations", [])
    return registry


@pytest.fixture
def postgresql_alias(
    postgresql_url: str, django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[str]:
    """The alias of a migrated database on PostgreSQL, whatever the project's databases are.

    For tests that use no other.
    """
    config = environ.Env.db_url_config(postgresql_url)
    with django_db_blocker.unblock(), another_database("elephant", config) as alias:
        call_command("migrate", "domain_event_broker", database=alias, verbosity=0)
        yield alias


@pytest.fixture
def sqlite_alias(
    tmp_path: Path, django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[str]:
    """The same on SQLite, as Django sets it up by itself, with no patience for locks."""
    config = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(tmp_path / "feather.sqlite3"),
        "OPTIONS": {"timeout": 0},
    }
    with django_db_blocker.unblock(), another_database("feather", config) as alias:
        call_command("migrate", "domain_event_broker", database=alias, verbosity=0)
        yield alias


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a project that has run ``migrate``, to be copied."""
    project = Project(tmp_path_factory.mktemp("migrated"))
    finished = project.run("migrate")
    assert finished.returncode == 0, finished.stderr
    return project.database


@pytest.fixture
def project(unmigrated: Project, migrated: Path) -> Project:
    """A project of its own with one app and a database, for processes of its own."""
    shutil.copy(migrated, unmigrated.database)
    return unmigrated


@pytest.fixture
def unmigrated(tmp_path: Path) -> Project:
    """The same before its first ``migrate``."""
    return Project(tmp_path)
