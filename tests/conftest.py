"""Fixtures for every test: RabbitMQ and PostgreSQL, and what is fresh for each test on them."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import ExitStack
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import pytest
from django.db import connections
from django.test import TransactionTestCase

from tests.support.postgresql import (
    PostgresqlCluster,
    PostgresqlNotFound,
    PostgresqlServer,
    database_of,
    postgresql_server,
)
from tests.support.rabbitmq import RabbitmqNode
from tests.support.releases import Release, ReleaseNotFound, find_release, requested_releases
from tests.support.waiting import wait_until

PrivateRabbitmq = Callable[..., RabbitmqNode]
PrivatePostgresql = Callable[[], PostgresqlCluster]
Server = TypeVar("Server", bound=PostgresqlServer)

# By these, as by its own marker and by Django's test cases, pytest-django knows who wants
# the project's databases.
DATABASE_FIXTURES = {"db", "transactional_db", "live_server"}


# Tests whose modules have one of these make `FAULT_RUNS` runs themselves, where the first has
# already set up what is dear.
MAKE_RUNS = {"repeat", "with_each_seed", "explore", "run_examples"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have each test of a fault run `FAULT_RUNS` times."""
    runs = int(os.environ.get("FAULT_RUNS", 1))
    is_fault = metafunc.definition.get_closest_marker("fault") is not None
    if is_fault and runs > 1 and MAKE_RUNS.isdisjoint(vars(metafunc.module)):
        metafunc.fixturenames.append("fault_run")
        metafunc.parametrize("fault_run", range(1, runs + 1), ids=lambda run: f"run-{run}")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark each test by what it needs, so that `-m "not broker"` leaves it out.

    `broker` needs RabbitMQ and `postgresql` PostgreSQL, whatever the project's database is.
    `database` uses that database: such a test runs on each kind that the project works on.
    """
    fixtures = set(getattr(item, "fixturenames", ()))
    if "rabbitmq_release" in fixtures:
        item.add_marker("broker")
    if "postgresql" in fixtures or "private_postgresql" in fixtures:
        item.add_marker("postgresql")
    if uses_database(item, fixtures):
        item.add_marker("database")


def uses_database(item: pytest.Item, fixtures: Set[str]) -> bool:
    test_case = getattr(item, "cls", None)
    if test_case is not None and issubclass(test_case, TransactionTestCase):
        return True
    return item.get_closest_marker("django_db") is not None or bool(fixtures & DATABASE_FIXTURES)


@pytest.fixture(autouse=True)
def no_subscriber_is_left() -> Iterator[None]:
    """One that a test forgot would reconnect for ever, and log into the tests that follow."""
    yield
    wait_until(lambda: not subscribers(), 30, lambda: f"left by the test: {subscribers()}")


def subscribers() -> list[str]:
    """The connections' threads of subscribers that are not closed."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name == "domain-event-broker subscriber"]


@pytest.fixture(scope="session", params=requested_releases())
def rabbitmq_release(request: pytest.FixtureRequest) -> Release:
    """The release to run on: whatever depends on this runs once for each asked-for one."""
    try:
        return find_release(request.param)
    except ReleaseNotFound as error:
        reason = str(error)
    pytest.fail(reason, pytrace=False)


@pytest.fixture(scope="session")
def rabbitmq(rabbitmq_release: Release) -> Iterator[RabbitmqNode]:
    """A running node that all tests share: use `broker_url`, and don't stop it."""
    with RabbitmqNode(rabbitmq_release) as node:
        yield node


@pytest.fixture
def broker_url(rabbitmq: RabbitmqNode) -> Iterator[str]:
    """The URL of a fresh, empty vhost on the shared node, deleted after the test."""
    url = rabbitmq.new_vhost()
    yield url
    rabbitmq.delete_vhost(vhost_of(url))


@pytest.fixture
def broker_vhost(broker_url: str) -> str:
    """The name of the vhost that `broker_url` leads to."""
    return vhost_of(broker_url)


@pytest.fixture
def private_rabbitmq(rabbitmq_release: Release) -> Iterator[PrivateRabbitmq]:
    """Start nodes for this test alone, to be stopped, killed and configured at will.

    `private_rabbitmq(config={...}, rabbit_settings={...})` returns a running RabbitmqNode;
    every call starts one more. Starting takes seconds: share one where a test can.
    """
    with ExitStack() as nodes:

        def start(
            config: Mapping[str, str] | None = None,
            rabbit_settings: Mapping[str, str] | None = None,
        ) -> RabbitmqNode:
            return nodes.enter_context(RabbitmqNode(rabbitmq_release, config, rabbit_settings))

        yield start


@pytest.fixture(scope="module")
def module_rabbitmq(rabbitmq_release: Release) -> Iterator[RabbitmqNode]:
    """The node behind `restartable_rabbitmq`; not for tests themselves."""
    with RabbitmqNode(rabbitmq_release) as node:
        yield node


@pytest.fixture
def restartable_rabbitmq(module_rabbitmq: RabbitmqNode) -> RabbitmqNode:
    """A node that a test may stop and kill; the next test of the module gets it running.

    Quicker than `private_rabbitmq`, which starts one for each test. Use `new_vhost()`.
    """
    module_rabbitmq.start()
    return module_rabbitmq


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """A running server that all tests share: use `postgresql_url`, and don't stop it."""
    with made_or_failed(postgresql_server) as server:
        yield server


@pytest.fixture
def postgresql_url(postgresql: PostgresqlServer) -> Iterator[str]:
    """The URL of a fresh, empty database on the shared server, dropped after the test."""
    url = postgresql.new_database()
    yield url
    postgresql.drop_database(database_of(url))


@pytest.fixture
def private_postgresql() -> Iterator[PrivatePostgresql]:
    """Start clusters for this test alone, to be stopped and killed at will.

    `private_postgresql()` returns a running PostgresqlCluster; every call starts one more.
    """
    with ExitStack() as clusters:

        def start() -> PostgresqlCluster:
            return clusters.enter_context(made_or_failed(PostgresqlCluster))

        yield start


def made_or_failed(make: Callable[[], Server]) -> Server:
    """Return what `make` makes; where there is no PostgreSQL, fail by a sentence."""
    try:
        return make()
    except PostgresqlNotFound as error:
        reason = str(error)
    pytest.fail(reason, pytrace=False)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Keep the test databases of SQLite in files, which threads and processes can share.

    In memory, as they are by default, a thread that writes locks the table for all others at
    once, and no `timeout` applies. The folder is of this process alone, under pytest-xdist too.
    """
    folder = tmp_path_factory.mktemp("databases")
    for connection in connections.all():
        if connection.vendor == "sqlite":
            connection.settings_dict["TEST"]["NAME"] = str(folder / f"{connection.alias}.sqlite3")


def vhost_of(url: str) -> str:
    return unquote(urlsplit(url).path[1:])
