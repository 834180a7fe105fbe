"""PostgreSQL is killed while a publisher and a subscriber work on it."""

from __future__ import annotations

from random import Random

import pytest

from tests.conftest import PrivatePostgresql
from tests.support.postgresql import PostgresqlCluster
from tests.support.waiting import wait_until

from .brokers import DatabaseQueues, Rabbitmq
from .conftest import MakeShop
from .databases import Postgresql
from .project import PATIENCE_SECONDS, Shop
from .runs import SEEDS, repeat

pytestmark = pytest.mark.fault(row=21)

WAVES = "25"
#: Fewer than there are in so many waves.
MOST_COMMITS = 30


@pytest.fixture
def cluster(private_postgresql: PrivatePostgresql) -> PostgresqlCluster:
    return private_postgresql()


def test_under_rabbitmq(make_shop: MakeShop, cluster: PostgresqlCluster, broker_url: str) -> None:
    shop = make_shop(Postgresql(cluster.new_database()), Rabbitmq(broker_url))
    see_it_through("postgresql killed under rabbitmq", shop, cluster)


def test_under_the_database_transport(make_shop: MakeShop, cluster: PostgresqlCluster) -> None:
    database = Postgresql(cluster.new_database())
    shop = make_shop(database, DatabaseQueues(database))
    see_it_through("postgresql killed under the database transport", shop, cluster)


def see_it_through(title: str, shop: Shop, cluster: PostgresqlCluster) -> None:
    def run(random: Random) -> None:
        seed = str(random.randrange(SEEDS))
        with shop.subscriber():
            publisher = shop.begin("place_orders", seed, "--waves", WAVES, "--through-outages")
            wait_for_commits(shop, random.randint(1, MOST_COMMITS))
            cluster.kill()
            shop.servers_killed += 1
            cluster.start()
            assert publisher.wait() == 0, publisher.output
        shop.settle()

    shop.do("prepare")
    repeat(title, shop, run)


def wait_for_commits(shop: Shop, count: int) -> None:
    """Wait until so many more were told to the publisher."""
    before = len(shop.ledgers.commits.read())
    wait_until(
        lambda: len(shop.ledgers.commits.read()) >= before + count, PATIENCE_SECONDS, shop.story
    )
