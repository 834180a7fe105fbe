"""A Django project in a folder of its own, run as processes of its own."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from textwrap import dedent
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 60

SETTINGS = """
from pathlib import Path

SECRET_KEY = "for tests"
USE_TZ = True
INSTALLED_APPS = ["domain_event_broker.django", "orders"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": Path(__file__).resolve().parent / "db.sqlite3",
    }
}
DOMAIN_EVENT_BROKER = "memory://project"
"""

HANDLER = """
from domain_event_broker.django import domain_event_handler


@domain_event_handler("order.placed", name="reserve")
def reserve(event):
    pass
"""


class Process(subprocess.Popen[str]):
    """As a context manager, one that is killed where the block fails, and else waited for."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.kill()
        super().__exit__(kind, error, traceback)


class Project:
    """A project `shop` with the settings `shop.settings` and the app `orders`.

    It has neither admin, contenttypes nor auth.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("shop/__init__.py", "")
        self.write("shop/settings.py", SETTINGS)
        self.write("orders/__init__.py", "")
        self.write("orders/domain_events.py", HANDLER)

    @property
    def database(self) -> Path:
        """The file of its SQLite database."""
        return self.folder / "shop/db.sqlite3"

    def write(self, path: str, text: str) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text))
        return file

    def set(self, **settings: object) -> None:
        """Add to the settings."""
        with (self.folder / "shop/settings.py").open("a") as file:
            file.writelines(f"{name} = {value!r}\n" for name, value in settings.items())

    def add_database(self, alias: str) -> None:
        """A copy of its own, under another name."""
        file = self.database.with_name(f"{alias}.sqlite3")
        shutil.copy(self.database, file)
        self.set_database(alias, {"ENGINE": "django.db.backends.sqlite3", "NAME": str(file)})

    def set_database(self, alias: str, config: Mapping[str, Any]) -> None:
        with (self.folder / "shop/settings.py").open("a") as settings:
            settings.write(f"DATABASES[{alias!r}] = {dict(config)!r}\n")

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a SELECT finds in its database."""
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(query).fetchall()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a management command to its end."""
        return subprocess.run(
            self._command(arguments),
            env=self._environment(),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )

    @contextmanager
    def start(
        self, *arguments: str, stdout: int = subprocess.PIPE
    ) -> Iterator[subprocess.Popen[str]]:
        """Run a management command beside the block, and see it end; killed if the block fails."""
        with subprocess.Popen(
            self._command(arguments),
            env=self._environment(),
            cwd=self.folder,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            except BaseException:
                process.kill()
                raise

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-W", "error", "-m", "django", *arguments]

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "shop.settings",
            "PYTHONPATH": f"{self.folder}{os.pathsep}{ROOT}",
        }
