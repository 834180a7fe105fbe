"""The project as `manage.py` sees it, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 60


def manage(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "manage.py"), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments", [("check",), ("makemigrations", "--check", "--dry-run")], ids=lambda a: a[0]
)
def test_the_project_is_in_order(arguments: tuple[str, ...], tmp_path: Path) -> None:
    finished = manage(*arguments, DATABASE_URL=f"sqlite:///{tmp_path / 'shop.sqlite3'}")

    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert not finished.stderr


def test_an_empty_broker_url_publishes_nothing(tmp_path: Path) -> None:
    publish = (
        "from domain_event_broker import publish_domain_event as publish;"
        "print(publish('user.registered', {}).routing_key)"
    )
    finished = manage(
        "shell",
        "--no-imports",
        "--command",
        publish,
        DATABASE_URL=f"sqlite:///{tmp_path / 'shop.sqlite3'}",
        BROKER_SECRET_URL="",
    )

    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert finished.stdout.strip() == "user.registered"
