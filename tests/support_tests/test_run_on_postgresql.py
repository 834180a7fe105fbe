"""`scripts/run_on_postgresql.py`: whatever becomes of the command, nothing else is left."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psycopg

from tests.support.postgresql import PostgresqlServer, database_of
from tests.support.processes import children_of, is_alive
from tests.support.waiting import wait_until

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "run_on_postgresql.py"
TIMEOUT_SECONDS = 60

SHOW = ["sh", "-c", "echo $DATABASE_URL $OTHER_DATABASE_URL; exit 7"]


def start(command: Sequence[str], server: PostgresqlServer | None = None) -> subprocess.Popen[str]:
    """Start the script, on a cluster of its own unless a server is given."""
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *command],
        env={**os.environ, "POSTGRESQL_URL": server.url if server else ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command_gets_two_databases_and_gives_its_status(postgresql: PostgresqlServer) -> None:
    with start(SHOW, postgresql) as script:
        stdout, stderr = script.communicate(timeout=TIMEOUT_SECONDS)
    assert (script.returncode, stderr) == (7, "")
    first, second = map(database_of, stdout.split())
    assert first != second
    with psycopg.connect(postgresql.url) as connection:
        found = connection.execute("SELECT datname FROM pg_database").fetchall()
    assert not {(first,), (second,)} & set(found)


def test_a_signal_ends_the_command_and_the_server(postgresql: PostgresqlServer) -> None:
    # Needing `postgresql`, it fails as that does where there is none.
    with start(["sh", "-c", "echo started; exec sleep 600"]) as script:
        assert script.stdout is not None
        assert script.stdout.readline() == "started\n"
        children = children_of(script.pid)
        script.send_signal(signal.SIGTERM)
        _, stderr = script.communicate(timeout=TIMEOUT_SECONDS)
    assert (script.returncode, stderr) == (128 + signal.SIGTERM, "")
    assert len(children) == 2
    wait_until(lambda: not any(map(is_alive, children)))


def test_a_command_that_is_killed_gives_the_status_of_shells(postgresql: PostgresqlServer) -> None:
    with start(["sh", "-c", "kill -KILL $$"], postgresql) as script:
        script.communicate(timeout=TIMEOUT_SECONDS)
    assert script.returncode == 128 + signal.SIGKILL


def test_without_a_command_it_tells_its_usage() -> None:
    with start([]) as script:
        _, stderr = script.communicate(timeout=TIMEOUT_SECONDS)
    assert script.returncode == 2
    assert "scripts/run_on_postgresql.py" in stderr
