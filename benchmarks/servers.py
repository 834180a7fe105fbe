"""The servers of one run: private ones, started when first wanted, gone at its end."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.postgresql import PostgresqlServer, postgresql_server
from tests.support.rabbitmq import RabbitmqNode
from tests.support.releases import find_release, requested_releases

from .projects import Database, postgresql, sqlite

DATABASES = ("PostgreSQL", "SQLite")


class Servers:
    """Gives out empty databases and vhosts."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._sqlite_files = 0

    @cached_property
    def rabbitmq(self) -> RabbitmqNode:
        release = find_release(requested_releases()[0])
        return self._stack.enter_context(RabbitmqNode(release))

    @cached_property
    def postgresql(self) -> PostgresqlServer:
        return self._stack.enter_context(postgresql_server())

    def new_database(self, kind: str) -> Database:
        """An empty database of one of the `DATABASES`."""
        if kind == "PostgreSQL":
            return postgresql(self.postgresql.new_database())
        self._sqlite_files += 1
        return sqlite(self._folder / f"{self._sqlite_files}.sqlite3")

    @cached_property
    def _folder(self) -> Path:
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()
