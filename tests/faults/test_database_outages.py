"""PostgreSQL is killed while processes work on it: at random, at named points, and while they idle.

They go on by themselves. See `tests.faults.orders.points`: a process is stopped at a point, and
goes on when PostgreSQL is back with all its connections gone.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from functools import partial
from random import Random

import pytest

from tests.support.postgresql import PostgresqlCluster
from tests.support.waiting import wait_until

from .brokers import DatabaseQueues, Rabbitmq
from .conftest import MakeShop
from .databases import Postgresql
from .kills import PUBLISHER, draw, make_backlog, publish
from .project import PATIENCE_SECONDS, Process, Shop
from .recovery import Fault, note
from .repairs import make_dead_letters
from .runs import SEEDS, repeat

pytestmark = pytest.mark.fault(row=21)

WAVES = "25"
#: Fewer than there are in so many waves.
MOST_COMMITS = 30
SMALL_BACKLOG = 40
#: After a failure, relays and collectors leave a database alone for five seconds.
RECOVERY_SECONDS = 10.0
COLLECTING = ["before dead letters are stored", "before a dead letter leaves its queue"]
RELAYING = ["while sending", "before the rows are deleted"]


@pytest.fixture
def rabbitmq(make_shop: MakeShop, cluster: PostgresqlCluster, broker_url: str) -> Shop:
    """The project on RabbitMQ."""
    shop = make_shop(Postgresql(cluster.new_database()), Rabbitmq(broker_url))
    shop.do("prepare")
    return shop


@pytest.fixture
def queues(make_shop: MakeShop, cluster: PostgresqlCluster) -> Shop:
    """The project on the database transport."""
    database = Postgresql(cluster.new_database())
    shop = make_shop(database, DatabaseQueues(database))
    shop.do("prepare")
    return shop


class TestAtRandom:
    def test_under_rabbitmq(self, rabbitmq: Shop, cluster: PostgresqlCluster) -> None:
        run = partial(kill_at_random, rabbitmq, cluster)
        repeat("postgresql killed under rabbitmq", rabbitmq, run)

    def test_under_the_database_transport(self, queues: Shop, cluster: PostgresqlCluster) -> None:
        run = partial(kill_at_random, queues, cluster)
        repeat("postgresql killed under the database transport", queues, run)


class TestInASubscriber:
    @pytest.mark.parametrize("point", ["before the handler's commit", "before the ack"])
    def test_under_rabbitmq(self, rabbitmq: Shop, cluster: PostgresqlCluster, point: str) -> None:
        run = partial(kill_in_subscriber, rabbitmq, cluster, point)
        repeat(f"postgresql killed {point}, rabbitmq", rabbitmq, run)

    @pytest.mark.parametrize("point", ["before the handler's commit", "before the settlement"])
    def test_under_the_database_transport(
        self, queues: Shop, cluster: PostgresqlCluster, point: str
    ) -> None:
        run = partial(kill_in_subscriber, queues, cluster, point)
        repeat(f"postgresql killed {point}, database transport", queues, run)

    @pytest.mark.parametrize("point", COLLECTING)
    def test_that_collects_dead_letters(
        self, rabbitmq: Shop, cluster: PostgresqlCluster, point: str
    ) -> None:
        run = partial(kill_in_collector, rabbitmq, cluster, point)
        repeat(f"postgresql killed {point}", rabbitmq, run)


class TestInAPublisher:
    @pytest.mark.parametrize("point", PUBLISHER)
    def test_under_rabbitmq(self, rabbitmq: Shop, cluster: PostgresqlCluster, point: str) -> None:
        run = partial(kill_in_publisher, rabbitmq, cluster, point)
        repeat(f"postgresql killed {point}, rabbitmq", rabbitmq, run)

    def test_under_the_database_transport(self, queues: Shop, cluster: PostgresqlCluster) -> None:
        run = partial(kill_in_publisher, queues, cluster, "before the commit")
        repeat("postgresql killed before the commit, database transport", queues, run)


@pytest.mark.parametrize("point", RELAYING)
def test_in_a_relay(rabbitmq: Shop, cluster: PostgresqlCluster, point: str) -> None:
    run = partial(kill_in_relay, rabbitmq, cluster, point)
    repeat(f"postgresql killed in a relay {point}", rabbitmq, run)


class TestIdle:
    """Connections that are kept for ever break while nobody uses them."""

    def test_under_rabbitmq(self, rabbitmq: Shop, cluster: PostgresqlCluster) -> None:
        self.see_next_event_handled(rabbitmq, cluster)

    def test_under_the_database_transport(self, queues: Shop, cluster: PostgresqlCluster) -> None:
        self.see_next_event_handled(queues, cluster)

    def see_next_event_handled(self, shop: Shop, cluster: PostgresqlCluster) -> None:
        shop.set(DATABASES={"default": {**shop.database.setting, "CONN_MAX_AGE": None}})
        repeat("postgresql restarted while idle", shop, partial(restart_idle, shop, cluster))


def kill_at_random(shop: Shop, cluster: PostgresqlCluster, random: Random) -> None:
    seed = str(random.randrange(SEEDS))
    with shop.subscriber():
        publisher = shop.begin("place_orders", seed, "--waves", WAVES, "--through-outages")
        wait_for_commits(shop, random.randint(1, MOST_COMMITS))
        cluster.kill()
        shop.servers_killed += 1
        cluster.start()
        assert publisher.wait() == 0, publisher.output
    shop.settle()


def kill_in_subscriber(shop: Shop, cluster: PostgresqlCluster, point: str, random: Random) -> None:
    seed, plan = draw(random)
    most = 1 if point == "before the settlement" else plan.deliveries
    shop.do("place_orders", seed, "--until-sent")
    subscriber = shop.begin_stopped(point, random.randint(1, most), "run_subscriber")
    go_on_without_connections(shop, cluster, subscriber, f"a subscriber stopped {point}")
    subscriber.stop()
    shop.settle()


def kill_in_collector(shop: Shop, cluster: PostgresqlCluster, point: str, random: Random) -> None:
    before = len(shop.dead_letters())
    letters = make_dead_letters(shop, random)
    nth = 1 if point == COLLECTING[0] else random.randint(1, letters)
    subscriber = shop.begin_stopped(point, nth, "run_subscriber")

    def is_collected() -> bool:
        return len(shop.dead_letters()) - before == letters and shop.broker.dead_letters() == 0

    go_on_without_connections(
        shop, cluster, subscriber, f"a collector stopped {point}", is_collected
    )
    subscriber.stop()
    shop.do("replay_dead_letters")
    shop.settle()
    assert len(shop.dead_letters()) - before == letters, shop.story()


def kill_in_publisher(shop: Shop, cluster: PostgresqlCluster, point: str, random: Random) -> None:
    seed, plan = draw(random)
    nth = random.randint(1, PUBLISHER[point](plan))
    publisher = shop.begin_stopped(point, nth, "place_orders", seed, "--through-outages")
    go_on_without_connections(
        shop, cluster, publisher, f"a publisher stopped {point}", lambda: not publisher.is_running
    )
    assert publisher.wait() == 0, publisher.output
    shop.settle()


def kill_in_relay(shop: Shop, cluster: PostgresqlCluster, point: str, random: Random) -> None:
    make_backlog(shop, SMALL_BACKLOG)
    nth = 1 if point == RELAYING[1] else random.randint(1, SMALL_BACKLOG)
    relay = shop.begin_stopped(point, nth, "relay_outbox")
    go_on_without_connections(
        shop, cluster, relay, f"a relay stopped {point}", lambda: not shop.outbox_count()
    )
    relay.stop()
    shop.settle()


def restart_idle(shop: Shop, cluster: PostgresqlCluster, random: Random) -> None:
    what = "a subscriber idle on kept connections"
    with shop.subscriber() as subscriber:
        publish(shop, random, "--until-sent")
        wait_until(lambda: is_all_handled(shop), PATIENCE_SECONDS, shop.story)
        cluster.kill()
        shop.servers_killed += 1
        cluster.start()
        publish(shop, random, "--until-sent")
        began_at = time.monotonic()
        wait_until(lambda: is_all_handled(shop), PATIENCE_SECONDS, shop.story)
        note(Fault(21, what, RECOVERY_SECONDS), time.monotonic() - began_at)
        assert subscriber.is_running
    assert not shop.dead_letters()
    shop.settle()


def go_on_without_connections(
    shop: Shop,
    cluster: PostgresqlCluster,
    process: Process,
    what: str,
    is_over: Callable[[], bool] | None = None,
) -> None:
    """Kill the database beside a stopped process, start it again, and have the process go on.

    Return when all is over: by default, when the process alone has handled everything.
    """
    cluster.kill()
    shop.servers_killed += 1
    cluster.start()
    began_at = time.monotonic()
    process.signal(signal.SIGCONT)
    wait_until(is_over or (lambda: is_all_handled(shop)), PATIENCE_SECONDS, shop.story)
    note(Fault(21, what, RECOVERY_SECONDS), time.monotonic() - began_at)


def is_all_handled(shop: Shop) -> bool:
    return not shop.verdict().lost


def wait_for_commits(shop: Shop, count: int) -> None:
    """Wait until so many more were told to the publisher."""
    before = len(shop.ledgers.commits.read())
    wait_until(
        lambda: len(shop.ledgers.commits.read()) >= before + count, PATIENCE_SECONDS, shop.story
    )
