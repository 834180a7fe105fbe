"""The peers that ours is measured beside, in virtual environments of their own in ``.peers``."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from tests.compatibility import environments
from tests.compatibility.environments import FOLDER, exclusive, run

#: The environments' names, and so what `Bench.start` takes as its `peer`.
DJANGO_DOMAIN_EVENTS = "django-domain-events"
RABBITMQ = "rabbitmq"
DOMAIN_EVENT_BROKER = "domain-event-broker"


@dataclass(frozen=True)
class Environment:
    """Releases that live together, and modules whose import shows that they do."""

    name: str
    releases: Mapping[str, str]
    modules: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return FOLDER / f"{self.name}-{sys.implementation.cache_tag}"

    @property
    def requirements(self) -> list[str]:
        return [f"{name}=={release}" for name, release in self.releases.items()]

    @property
    def check(self) -> str:
        """A program that fails where anything is missing or of another release."""
        return (
            f"import {', '.join(self.modules)}\n"
            "from importlib.metadata import version\n"
            f"releases = {dict(self.releases)!r}\n"
            "assert releases == {name: version(name) for name in releases}\n"
        )


def ours(*names: str) -> dict[str, str]:
    """These as they are installed for us, so that only the peer makes a difference."""
    return {name: version(name) for name in names}


ENVIRONMENTS = (
    Environment(
        DJANGO_DOMAIN_EVENTS,
        {"django-domain-events": "0.14.1", **ours("Django", "psycopg", "psycopg-binary")},
        ("django_domain_events", "psycopg"),
    ),
    Environment(
        RABBITMQ,
        {
            "aio-pika": "10.2.1",
            "aiormq": "7.2.4",
            "amqp": "5.4.2",
            "celery": "5.7.0",
            "django-outbox-pattern": "3.2.1",
            "dramatiq": "2.2.1",
            "eventsource-py": "0.8.1",
            "kombu": "5.7.0",
            **ours("Django", "pika", "psycopg", "psycopg-binary"),
        },
        ("aio_pika", "celery", "django_outbox_pattern", "dramatiq", "eventsource", "kombu"),
    ),
)


@cache
def peer_python(peer: str) -> Path:
    """Return the interpreter that has the peer, which is installed where need be.

    It is the same Python as ours. What was left half made is made anew.
    """
    if peer == DOMAIN_EVENT_BROKER:
        return environments.peer_python()
    (environment,) = (each for each in ENVIRONMENTS if each.name == peer)
    return made(environment)


def made(environment: Environment) -> Path:
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / ".gitignore").write_text("*\n")
    python = environment.folder / "bin" / "python"
    with exclusive(FOLDER / "lock"):
        if not works(python, environment):
            shutil.rmtree(environment.folder, ignore_errors=True)
            run(sys.executable, "-m", "venv", str(environment.folder))
            run(str(python), "-m", "pip", "install", "--quiet", *environment.requirements)
            run(str(python), "-I", "-c", environment.check)
    return python


def works(python: Path, environment: Environment) -> bool:
    if not python.exists():
        return False
    command = [str(python), "-I", "-c", environment.check]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
