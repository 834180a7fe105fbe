"""PostgreSQL for the tests: a private cluster, or the server that `POSTGRESQL_URL` names."""

import atexit
import os
import pwd
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import LiteralString, Self
from urllib.parse import quote, unquote, urlsplit

import psycopg
from psycopg import sql

from tests.support.ports import LOOPBACK, free_ports
from tests.support.processes import (
    ServerProcess,
    dying_with_us,
    is_root,
    tail,
    with_system_path,
)
from tests.support.scratch import scratch_folder
from tests.support.waiting import wait_until

URL_VARIABLE = "POSTGRESQL_URL"
# Debian keeps the server's programs of each version away from the search path.
PACKAGED_VERSIONS = Path("/usr/lib/postgresql")
# The system's user that runs the server where we are root, and the superuser in it.
USER = "postgres"
MAINTENANCE_DATABASE = "postgres"
SCRATCH_PREFIX = "postgresql-test-"
START_TIMEOUT_SECONDS = 60
STOP_TIMEOUT_SECONDS = 30
INITDB_TIMEOUT_SECONDS = 120
CONNECT_TIMEOUT_SECONDS = 10
# Where the server's lock file has the key and the id of its shared memory.
SHARED_MEMORY_LINE = 6

# Loopback and the own folder only. The rest is as PostgreSQL has it: a commit is on the
# disk (`fsync`) before it is answered.
CONFIGURATION = """\
listen_addresses = '{loopback}'
port = {port}
unix_socket_directories = '{folder}'
max_connections = 200
# Unlike shared memory elsewhere, files in the cluster's folder are removed with it.
dynamic_shared_memory_type = mmap
"""


class PostgresqlNotFound(Exception):
    """This machine has no PostgreSQL server to run; the text says what installs it."""


class PostgresqlServer:
    """A server that gives out empty databases; `url` is that of a superuser's own."""

    def __init__(self, url: str) -> None:
        self.url = url

    def url_of(self, database: str) -> str:
        return urlsplit(self.url)._replace(path=f"/{quote(database, safe='')}").geturl()

    def new_database(self, name: str | None = None) -> str:
        """Make an empty database and return its URL."""
        database = name or f"test_{secrets.token_hex(6)}"
        # template1, the default, may hold what somebody wanted in every database.
        self._execute("CREATE DATABASE {} TEMPLATE template0", database)
        return self.url_of(database)

    def drop_database(self, name: str) -> None:
        """Drop the database and end whatever is connected to it; it may be gone already."""
        self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def close(self) -> None:
        """Leave nothing behind. May be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _execute(self, statement: LiteralString, database: str) -> None:
        with self._connection() as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(database)))

    def _connection(self) -> psycopg.Connection:
        timeout = CONNECT_TIMEOUT_SECONDS
        return psycopg.connect(self.url, autocommit=True, connect_timeout=timeout)


class GivenServer(PostgresqlServer):
    """A server that somebody else runs: of ours are the databases only, gone with `close()`."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._databases: set[str] = set()

    def new_database(self, name: str | None = None) -> str:
        url = super().new_database(name)
        self._databases.add(database_of(url))
        return url

    def drop_database(self, name: str) -> None:
        super().drop_database(name)
        self._databases.discard(name)

    def close(self) -> None:
        for name in list(self._databases):
            self.drop_database(name)


class PostgresqlCluster(PostgresqlServer):
    """A server with its own port, socket, password and data, all gone after `close()`.

    Port and data stay the same over every stop, kill and start. To be started from a thread
    that lives on: the server dies with it. Raises PostgresqlNotFound where none is installed.
    """

    def __init__(self) -> None:
        self._programs = find_programs()
        self._user_and_group = user_and_group() if is_root() else None
        (self.port,) = free_ports(1)
        self._password = secrets.token_hex(8)
        super().__init__(
            f"postgres://{USER}:{self._password}@{LOOPBACK}:{self.port}/{MAINTENANCE_DATABASE}"
        )
        self._server: ServerProcess | None = None
        self._folder = scratch_folder(SCRATCH_PREFIX)
        atexit.register(self.close)
        self._give_to_server(self._folder)
        self._initialise()

    # Where it is

    @property
    def folder(self) -> Path:
        """Holds all there is of it: data, socket and log."""
        return self._folder

    @property
    def log_path(self) -> Path:
        return self._folder / "server.log"

    @property
    def pid(self) -> int | None:
        """The process id of the postmaster, the parent of all others, while it runs."""
        return self._server.pid if self._server and self._server.is_running else None

    # Its life

    @property
    def is_running(self) -> bool:
        """Whether the process exists: true as well while it starts."""
        return self.pid is not None

    def start(self, timeout_seconds: float = START_TIMEOUT_SECONDS) -> None:
        """Start the server and return when it answers, recovered from whatever befell it."""
        if self.is_running:
            return
        command = self._command("postgres", "-D", str(self._data))
        self._server = ServerProcess(command, self._environment, self.log_path, self._folder)
        wait_until(self._answers_or_died, timeout_seconds, self._failure_to_start)
        if not self.is_running:
            raise AssertionError(self._failure_to_start())

    def stop(self, timeout_seconds: float = STOP_TIMEOUT_SECONDS) -> None:
        """Stop the server as its service would: clients are told, data is put on disk."""
        if not self._ended_by(signal.SIGINT, timeout_seconds):
            self.kill()
            raise AssertionError(f"PostgreSQL did not stop in {timeout_seconds:g} s")

    def kill(self) -> None:
        """End all of its processes by SIGKILL, like a power cut that the disk survives."""
        if self._server:
            self._server.kill_with_children()

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        """End the server for good and remove its data. May be called twice."""
        if not self._ended_by(signal.SIGQUIT, STOP_TIMEOUT_SECONDS):
            self.kill()
        self._free_shared_memory()
        shutil.rmtree(self._folder, ignore_errors=True)
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        self.start()
        return self

    # How it is run

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def _environment(self) -> dict[str, str]:
        return with_system_path({"HOME": str(self._folder)})

    def _command(self, program: str, *arguments: str) -> list[str]:
        """Return the command that runs `program` as a user that PostgreSQL accepts: not root."""
        return [*dying_with_us(self._user_and_group), str(self._programs / program), *arguments]

    def _initialise(self) -> None:
        password_file = self._folder / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self._password)
        self._give_to_server(password_file)
        self._initdb(
            f"--pgdata={self._data}",
            f"--username={USER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        )
        settings = CONFIGURATION.format(loopback=LOOPBACK, port=self.port, folder=self._folder)
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(settings)

    def _initdb(self, *options: str) -> None:
        finished = subprocess.run(
            self._command("initdb", *options),
            env=self._environment,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=INITDB_TIMEOUT_SECONDS,
            check=False,
        )
        if finished.returncode != 0:
            raise AssertionError(f"initdb failed: {finished.stdout}")

    def _give_to_server(self, path: Path) -> None:
        """Make the server's user own `path`, where it is not us who run the server."""
        if self._user_and_group:
            os.chown(path, *self._user_and_group)

    def _ended_by(self, number: signal.Signals, timeout_seconds: float) -> bool:
        """Signal the server if it runs, and return whether it has ended by the deadline."""
        if self._server is None or not self.is_running:
            return True
        return self._server.terminate(timeout_seconds, number)

    def _free_shared_memory(self) -> None:
        """Free what a killed server had to leave; the next one on its data would take it over."""
        lock_file = self._data / "postmaster.pid"
        if not lock_file.exists():
            return
        lines = lock_file.read_text().splitlines()
        if len(lines) > SHARED_MEMORY_LINE and lines[SHARED_MEMORY_LINE].strip():
            _, segment = lines[SHARED_MEMORY_LINE].split()
            subprocess.run(["ipcrm", "-m", segment], stderr=subprocess.DEVNULL, check=False)

    def _answers_or_died(self) -> bool:
        return not self.is_running or self._answers()

    def _answers(self) -> bool:
        try:
            self._connection().close()
        except psycopg.OperationalError:
            return False
        return True

    def _failure_to_start(self) -> str:
        return "\n".join(["PostgreSQL did not start:", *tail(self.log_path)])


def postgresql_server(environment: Mapping[str, str] = os.environ) -> PostgresqlServer:
    """Return the server that `POSTGRESQL_URL` names, or else a new private cluster.

    Use it as a context manager, which starts the cluster; neither leaves anything behind.
    Not for who wants to stop or kill it. Raises PostgresqlNotFound where there is neither.
    """
    url = environment.get(URL_VARIABLE)
    return GivenServer(url) if url else PostgresqlCluster()


def find_programs() -> Path:
    """Return the folder of the newest server that Debian installed, or of one on the search path.

    Raises PostgresqlNotFound where there is neither.
    """
    packaged = [path.parent for path in PACKAGED_VERSIONS.glob("*/bin/postgres")]
    if packaged:
        return max(packaged, key=version_of)
    program = shutil.which("postgres", path=with_system_path({})["PATH"])
    if program is None:
        raise PostgresqlNotFound(
            "postgresql is not installed; `make setup` installs it, unless POSTGRESQL_URL is set"
        )
    return Path(program).resolve().parent


def version_of(programs: Path) -> float:
    """Read the version from a folder such as `/usr/lib/postgresql/15/bin`."""
    try:
        return float(programs.parent.name)
    except ValueError:
        return 0


def user_and_group() -> tuple[int, int]:
    try:
        entry = pwd.getpwnam(USER)
    except KeyError:
        raise PostgresqlNotFound(
            f"there is no user {USER} to run PostgreSQL as, which refuses to run as root; "
            "Debian's package postgresql makes one"
        ) from None
    return entry.pw_uid, entry.pw_gid


def database_of(url: str) -> str:
    return unquote(urlsplit(url).path[1:])
