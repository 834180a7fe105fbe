"""The C client on librabbitmq: the limit, since it costs next to nothing beside the broker.

Built by the C compiler into ``.peers`` when first wanted, and after its source has changed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from tests.compatibility.environments import FOLDER, exclusive
from tests.support.processes import dying_with_us

from .processes import TIMEOUT_SECONDS, Answer, SubjectFailed

SOURCES = Path(__file__).parent / "c_client"
SHARED = ("client.c", "client.h")
OPTIONS = ("-std=gnu11", "-O2", "-Wall", "-Wextra")


class ClientNotBuilt(Exception):
    """The C client could not be built; the text says what is missing."""


def run_c_client(program: str, *arguments: object, stdin: bytes = b"") -> Answer:
    """Run ``publish`` or ``consume`` to its end; return what it measured.

    Raises `ClientNotBuilt` or `SubjectFailed`.
    """
    finished = subprocess.run(
        [*dying_with_us(), str(built(program)), *map(str, arguments)],
        input=stdin,
        stdout=subprocess.PIPE,
        timeout=TIMEOUT_SECONDS,
        check=False,
        start_new_session=True,
    )
    if finished.returncode != 0:
        raise SubjectFailed(f"The C client's {program} ended with status {finished.returncode}.")
    answer: Answer = json.loads(finished.stdout)
    return answer


def built(program: str) -> Path:
    """Return the program, after compiling it where need be."""
    executable = FOLDER / "c-client" / program
    executable.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(FOLDER / "lock"):
        if not is_current(executable):
            compile_to(executable)
    return executable


def is_current(executable: Path) -> bool:
    sources = [SOURCES / name for name in (f"{executable.name}.c", *SHARED)]
    return executable.exists() and all(
        source.stat().st_mtime <= executable.stat().st_mtime for source in sources
    )


def compile_to(executable: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        raise ClientNotBuilt("There is no C compiler; run scripts/install-librabbitmq.")
    sources = [str(SOURCES / name) for name in (f"{executable.name}.c", "client.c")]
    command = [compiler, *OPTIONS, "-o", str(executable), *sources, "-lrabbitmq"]
    compiled = subprocess.run(command, capture_output=True, text=True, check=False)
    if compiled.returncode != 0:
        raise ClientNotBuilt(
            "The C client does not compile; scripts/install-librabbitmq installs what it needs.\n"
            f"{compiled.stderr}"
        )
