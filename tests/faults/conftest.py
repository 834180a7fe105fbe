"""The test project on each pair of database and broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import made_or_failed
from tests.support.postgresql import PostgresqlCluster

from . import recovery
from .brokers import Broker, DatabaseQueues, Rabbitmq
from .databases import Database, Postgresql, Sqlite
from .project import Shop

FOLDER = Path(__file__).resolve().parent
NEEDS_ROW = "tests in this folder are marked by their rows of the fault matrix: @pytest.mark.fault"

MakeShop = Callable[[Database, Broker], Shop]


def pytest_itemcollected(item: pytest.Item) -> None:
    if FOLDER in item.path.parents and item.get_closest_marker("fault") is None:
        raise pytest.UsageError(f"{item.nodeid}: {NEEDS_ROW}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = recovery.table()
    if lines:
        terminalreporter.section("recovery times")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture
def make_shop(tmp_path: Path) -> Iterator[MakeShop]:
    """Make a project; its processes end with the test."""
    with ExitStack() as shops:

        def make(database: Database, broker: Broker) -> Shop:
            shop = Shop(tmp_path, database, broker)
            shops.callback(shop.kill_all)
            return shop

        yield make


@pytest.fixture(scope="module")
def module_cluster() -> Iterator[PostgresqlCluster]:
    """The cluster behind `cluster`; not for tests themselves."""
    with made_or_failed(PostgresqlCluster) as cluster:
        yield cluster


@pytest.fixture
def cluster(module_cluster: PostgresqlCluster) -> PostgresqlCluster:
    """A PostgreSQL that a test may stop and kill; the module's next test gets it running."""
    module_cluster.start()
    return module_cluster


@pytest.fixture
def rabbitmq_shop(make_shop: MakeShop, broker_url: str, postgresql_url: str) -> Shop:
    """On RabbitMQ and PostgreSQL."""
    shop = make_shop(Postgresql(postgresql_url), Rabbitmq(broker_url))
    shop.do("prepare")
    return shop


@pytest.fixture
def postgresql_shop(make_shop: MakeShop, postgresql_url: str) -> Shop:
    """On the database transport and PostgreSQL."""
    database = Postgresql(postgresql_url)
    shop = make_shop(database, DatabaseQueues(database))
    shop.do("prepare")
    return shop


@pytest.fixture
def sqlite_shop(make_shop: MakeShop, tmp_path: Path) -> Shop:
    """On the database transport and SQLite."""
    database = Sqlite(tmp_path / "shop.sqlite3")
    shop = make_shop(database, DatabaseQueues(database))
    shop.do("prepare")
    return shop
