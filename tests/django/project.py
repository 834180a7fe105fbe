"""A Django project in a folder of its own, run as processes of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

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

    def write(self, path: str, text: str) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text))
        return file

    def set(self, **settings: object) -> None:
        """Add to the settings."""
        with (self.folder / "shop/settings.py").open("a") as file:
            file.writelines(f"{name} = {value!r}\n" for name, value in settings.items())

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

    def start(self, *arguments: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
        """Start a management command; use it as a context manager."""
        return subprocess.Popen(
            self._command(arguments),
            env=self._environment(),
            cwd=self.folder,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-W", "error", "-m", "django", *arguments]

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "shop.settings",
            "PYTHONPATH": f"{self.folder}{os.pathsep}{ROOT}",
        }
