"""The peer that ours is measured beside, in a virtual environment of its own in ``.peers``."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from tests.compatibility.environments import FOLDER, exclusive, run

VERSION = "0.14.1"
# Django and the database's driver are as ours, so that only the peer makes a difference.
SHARED = ("Django", "psycopg", "psycopg-binary")
PINNED = {"django-domain-events": VERSION, **{name: version(name) for name in SHARED}}
REQUIREMENTS = [f"{name}=={pinned}" for name, pinned in PINNED.items()]
CHECK = f"""
from importlib.metadata import version
import django_domain_events, psycopg
assert {PINNED!r} == {{name: version(name) for name in {list(PINNED)!r}}}
"""


def peer_python() -> Path:
    """Return the interpreter that has django-domain-events, which is installed where need be.

    It is the same Python as ours. What was left half made is made anew.
    """
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / ".gitignore").write_text("*\n")
    environment = FOLDER / f"django-domain-events-{VERSION}-{sys.implementation.cache_tag}"
    python = environment / "bin" / "python"
    with exclusive(FOLDER / "lock"):
        if not works(python):
            shutil.rmtree(environment, ignore_errors=True)
            run(sys.executable, "-m", "venv", str(environment))
            run(str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS)
            run(str(python), "-I", "-c", CHECK)
    return python


def works(python: Path) -> bool:
    if not python.exists():
        return False
    command = [str(python), "-I", "-c", CHECK]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
