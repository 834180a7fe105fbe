"""The Django settings of the subjects: small projects, each with the apps that it needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environ import Env

from .peers import DJANGO_DOMAIN_EVENTS, RABBITMQ

Database = dict[str, Any]

OUR_APPS = ["domain_event_broker.django"]
PEER_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django_domain_events"]
DATABASE_TRANSPORT = "database://"


def postgresql(url: str) -> Database:
    return dict(Env.db_url_config(url))


def sqlite(path: Path) -> Database:
    """As the example project has it: in WAL mode, where no commit waits for the disk."""
    options = {
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
    }
    return {**Env.db_url_config(f"sqlite:///{path}"), "OPTIONS": options}


@dataclass(frozen=True)
class Project:
    """Settings for `django.conf.settings.configure`, if any, and the peer that they are for."""

    settings: dict[str, Any] | None
    peer: str | None = None


#: For subjects that do without Django.
NO_DJANGO = Project(None)


def our_project(database: Database, broker_url: str, **settings: Any) -> Project:
    broker = {"URL": broker_url, "SERVICE": "benchmark"}
    return Project({**common(database, OUR_APPS), "DOMAIN_EVENT_BROKER": broker, **settings})


def peer_project(database: Database) -> Project:
    return Project(common(database, PEER_APPS), DJANGO_DOMAIN_EVENTS)


def outbox_pattern_project(database: Database, host: str, stomp_port: int, vhost: str) -> Project:
    """Without the second that it waits after each look at the outbox."""
    stomp = {
        "DEFAULT_STOMP_HOST_AND_PORTS": [(host, stomp_port)],
        "DEFAULT_STOMP_VHOST": vhost,
        "DEFAULT_PRODUCER_WAITING_TIME": 0,
    }
    settings = {**common(database, ["django_outbox_pattern"]), "DJANGO_OUTBOX_PATTERN": stomp}
    return Project(settings, RABBITMQ)


def common(database: Database, apps: list[str]) -> dict[str, Any]:
    return {
        "DATABASES": {"default": database},
        "INSTALLED_APPS": apps,
        "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
        "USE_TZ": True,
    }
