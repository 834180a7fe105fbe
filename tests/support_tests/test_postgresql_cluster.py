"""The private PostgreSQL cluster is itself tested, since every test on PostgreSQL trusts it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import psycopg
import pytest

from tests.support.ports import LOOPBACK
from tests.support.postgresql import (
    USER,
    GivenServer,
    PostgresqlCluster,
    PostgresqlServer,
    database_of,
    postgresql_server,
)
from tests.support.processes import children_of, is_alive
from tests.support.waiting import wait_until

End = Callable[[PostgresqlCluster], None]

TABLES = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
LONG_QUERY = "SELECT pg_sleep(600)"
RUNNING = f"SELECT count(*) FROM pg_stat_activity WHERE query = '{LONG_QUERY}'"


@pytest.fixture(scope="module")
def module_cluster(postgresql: PostgresqlServer) -> Iterator[PostgresqlCluster]:
    """The cluster behind `cluster`; needing `postgresql`, it fails as that does."""
    with PostgresqlCluster() as running:
        yield running


@pytest.fixture
def cluster(module_cluster: PostgresqlCluster) -> PostgresqlCluster:
    """A running cluster that a test may stop and kill."""
    module_cluster.start()
    return module_cluster


def place_order(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE orders (product text)")
        connection.execute("INSERT INTO orders VALUES ('book')")


def ask(url: str, question: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(question.encode()).fetchone()
    assert row is not None
    return row[0]


def answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.mark.parametrize("end", [PostgresqlCluster.stop, PostgresqlCluster.kill])
def test_what_was_committed_is_there_after_the_next_start(
    cluster: PostgresqlCluster, end: End
) -> None:
    url = cluster.new_database()
    place_order(url)
    end(cluster)
    assert not cluster.is_running
    assert not answers(url)
    cluster.start()
    assert ask(url, "SELECT product FROM orders") == "book"


def test_a_restart_is_another_process_with_the_same_data(cluster: PostgresqlCluster) -> None:
    url = cluster.new_database()
    place_order(url)
    before = cluster.pid
    cluster.restart()
    assert cluster.pid != before
    assert ask(url, "SELECT product FROM orders") == "book"


def test_starting_twice_and_ending_twice_is_harmless(cluster: PostgresqlCluster) -> None:
    running = cluster.pid
    cluster.start()
    assert cluster.pid == running
    cluster.stop()
    cluster.stop()
    cluster.kill()
    assert not cluster.is_running


def test_a_stop_does_not_wait_for_clients(cluster: PostgresqlCluster) -> None:
    with psycopg.connect(cluster.url) as connection:
        cluster.stop()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")


def test_killing_leaves_no_process_that_still_works(cluster: PostgresqlCluster) -> None:
    errors: list[psycopg.Error] = []

    def work() -> None:
        try:
            ask(cluster.url, LONG_QUERY)
        except psycopg.Error as error:
            errors.append(error)

    client = Thread(target=work)
    client.start()
    wait_until(lambda: ask(cluster.url, RUNNING) == 1, message="the query never ran")
    pid = cluster.pid
    assert pid is not None
    processes = [pid, *children_of(pid)]
    assert len(processes) > 2
    cluster.kill()
    assert not any(is_alive(process) for process in processes)
    client.join(30)
    assert [type(error) for error in errors] == [psycopg.OperationalError]


def test_a_commit_waits_for_the_disk(cluster: PostgresqlCluster) -> None:
    assert ask(cluster.url, "SHOW fsync") == "on"
    assert ask(cluster.url, "SHOW synchronous_commit") == "on"


def test_only_the_password_lets_in(cluster: PostgresqlCluster) -> None:
    for host in (LOOPBACK, str(cluster.folder)):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(host=host, port=cluster.port, user=USER, password="wrong")


def test_a_new_database_is_empty_and_of_its_own(
    postgresql: PostgresqlServer, postgresql_url: str
) -> None:
    other = postgresql.new_database()
    place_order(postgresql_url)
    assert ask(postgresql_url, TABLES) == 1
    assert ask(other, TABLES) == 0
    postgresql.drop_database(database_of(other))
    assert not answers(other)


@pytest.mark.parametrize("name", ["Shop of 7%", 'x"; DROP DATABASE postgres; --', "a/b?c"])
def test_any_name_is_a_name(postgresql: PostgresqlServer, name: str) -> None:
    url = postgresql.new_database(name)
    assert database_of(url) == name
    assert ask(url, "SELECT current_database()") == name
    postgresql.drop_database(name)
    assert not answers(url)


def test_dropping_ends_what_is_connected(postgresql: PostgresqlServer) -> None:
    url = postgresql.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        postgresql.drop_database(database_of(url))
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    postgresql.drop_database(database_of(url))


def test_two_clusters_have_nothing_in_common(
    private_postgresql: Callable[[], PostgresqlCluster],
) -> None:
    first, second = private_postgresql(), private_postgresql()
    url = first.new_database("shop")
    place_order(url)
    assert ask(second.new_database("shop"), TABLES) == 0
    second.kill()
    assert ask(url, "SELECT product FROM orders") == "book"


@pytest.mark.parametrize("end", [None, PostgresqlCluster.stop, PostgresqlCluster.kill])
def test_nothing_is_left_after_close(
    private_postgresql: Callable[[], PostgresqlCluster], end: End | None
) -> None:
    cluster = private_postgresql()
    processes = processes_in(cluster.folder)
    assert len(processes) > 2
    segment = shared_memory_of(cluster)
    assert segment in shared_memory()
    if end:
        end(cluster)
    cluster.close()
    cluster.close()
    assert not cluster.folder.exists()
    wait_until(lambda: not any(map(is_alive, processes)))
    assert segment not in shared_memory()


def processes_in(folder: Path) -> list[int]:
    """Return all processes that work in `folder` or below, as a server's do."""
    return [
        int(process.parent.name)
        for process in Path("/proc").glob("[0-9]*/cwd")
        if folder in [target_of(process), *target_of(process).parents]
    ]


def shared_memory_of(cluster: PostgresqlCluster) -> str:
    lock_file = (cluster.folder / "data/postmaster.pid").read_text()
    return lock_file.splitlines()[6].split()[1]


def shared_memory() -> list[str]:
    """Return the ids of the machine's System V segments."""
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()
    return [line.split()[1] for line in lines[1:]]


def target_of(link: Path) -> Path:
    try:
        return link.readlink()
    except OSError:  # it ended meanwhile, or is another user's
        return Path()


def test_a_given_server_is_used_and_left_as_it_was(postgresql: PostgresqlServer) -> None:
    databases = "SELECT count(*) FROM pg_database"
    before = ask(postgresql.url, databases)
    with postgresql_server({"POSTGRESQL_URL": postgresql.url}) as given:
        assert isinstance(given, GivenServer)
        kept, dropped = given.new_database(), given.new_database()
        given.drop_database(database_of(dropped))
        assert ask(kept, TABLES) == 0
    assert not answers(kept)
    assert ask(postgresql.url, databases) == before
