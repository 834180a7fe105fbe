"""Database routers of projects that have their ideas."""

from __future__ import annotations

from typing import Any

APP = "domain_event_broker"


class InOther:
    """The app's tables are in the database "other", and only there."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "other" if model._meta.app_label == APP else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return db == "other" if app_label == APP else None


class LettersInOther:
    """Dead letters and outbox are in the database "other", and the queues are not."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        is_there = model._meta.model_name in ("deadletter", "outboxevent")
        return "other" if model._meta.app_label == APP and is_there else None

    db_for_write = db_for_read


class InElsewhere:
    """The app's tables are written in a database that DATABASES does not have."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "elsewhere" if model._meta.app_label == APP else None


class Nowhere:
    """The app's tables are in no database."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if app_label == APP else None
