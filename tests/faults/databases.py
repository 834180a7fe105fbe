"""The databases of the test project: its setting, and what is in them, past all of our code."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg

TIMEOUT_SECONDS = 30
Rows = list[tuple[Any, ...]]


class Postgresql:
    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def setting(self) -> dict[str, Any]:
        parts = urlsplit(self._url)
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": unquote(parts.path[1:]),
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": parts.hostname,
            "PORT": parts.port,
        }

    def rows(self, query: str) -> Rows:
        with psycopg.connect(self._url, autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()


class Sqlite:
    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def setting(self) -> dict[str, Any]:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(self._path),
            "OPTIONS": {
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
                "transaction_mode": "IMMEDIATE",
                "timeout": TIMEOUT_SECONDS,
            },
        }

    def rows(self, query: str) -> Rows:
        with closing(sqlite3.connect(self._path, timeout=TIMEOUT_SECONDS)) as connection:
            return connection.execute(query).fetchall()


Database = Postgresql | Sqlite
