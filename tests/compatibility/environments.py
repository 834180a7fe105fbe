"""The 3.0.2 that our tests talk to, in a virtual environment of its own.

It is made once, by the interpreter that runs the tests, and kept in `.peers/`.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VERSION = "3.0.2"
REQUIREMENT = f"domain-event-broker=={VERSION}"
FOLDER = Path(__file__).resolve().parents[2] / ".peers"
INSTALL_SECONDS = 300
CHECK = f"""
from importlib.metadata import version
import domain_event_broker, pika
assert version("domain-event-broker") == {VERSION!r}
"""


class PeerNotInstalled(Exception):
    """The environment could not be made; the text holds what the installer said."""


def peer_python() -> Path:
    """Return the interpreter that has 3.0.2, after making its environment where need be.

    What was left half made, or belongs to an interpreter that is gone, is made anew.
    """
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / ".gitignore").write_text("*\n")
    environment = FOLDER / f"domain-event-broker-{VERSION}-{sys.implementation.cache_tag}"
    python = environment / "bin" / "python"
    with exclusive(FOLDER / "lock"):
        if not works(python):
            shutil.rmtree(environment, ignore_errors=True)
            run(sys.executable, "-m", "venv", str(environment))
            run(str(python), "-m", "pip", "install", "--quiet", REQUIREMENT)
            run(str(python), "-I", "-c", CHECK)
    return python


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Let one test run at a time make environments."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def works(python: Path) -> bool:
    if not python.exists():
        return False
    command = [str(python), "-I", "-c", CHECK]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def run(*command: str) -> None:
    finished = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    if finished.returncode != 0:
        raise PeerNotInstalled(f"`{' '.join(command)}` failed:\n{finished.stdout}")
