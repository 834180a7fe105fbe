"""Run a command with the project's databases on PostgreSQL, and return its exit status.

DATABASE_URL and OTHER_DATABASE_URL name two empty databases for as long as it runs: on the
server that POSTGRESQL_URL names, or else on a private one, which ends with the command.

    .venv/bin/python scripts/run_on_postgresql.py .venv/bin/python -m pytest -m database
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.support.postgresql import PostgresqlNotFound, postgresql_server

VARIABLES = ("DATABASE_URL", "OTHER_DATABASE_URL")
USAGE = 2


def main() -> int:
    command = sys.argv[1:]
    if not command:
        print(__doc__, file=sys.stderr)
        return USAGE
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    try:
        with postgresql_server() as server:
            urls = {variable: server.new_database() for variable in VARIABLES}
            return run(command, {**os.environ, **urls})
    except PostgresqlNotFound as error:
        print(f"{Path(__file__).name}: {error}", file=sys.stderr)
        return 1


def end(number: int, frame: FrameType | None) -> None:
    """End as Ctrl-C does, through every clean-up."""
    raise SystemExit(128 + number)


def run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the command to its end, which is awaited even when we are told to end."""
    with subprocess.Popen(command, env=environment) as process:
        try:
            status = process.wait()
        except KeyboardInterrupt:  # the terminal has sent it to the command as well
            status = process.wait()
        except SystemExit:
            process.terminate()
            process.wait()
            raise
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
