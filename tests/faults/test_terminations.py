"""SIGTERM, once and again, at bad moments: processes end, and no event is lost or doubled.

Once is a request: what runs may end, and the exit status is 0. Twice is an order: the process ends
at once, with the status of a process that SIGTERM ended. See docs/reference/commands.md.
"""

from __future__ import annotations

import signal

import pytest

from tests.support.postgresql import PostgresqlCluster
from tests.support.rabbitmq import RabbitmqNode
from tests.support.waiting import wait_until

from .brokers import DatabaseQueues, Rabbitmq
from .conftest import MakeShop
from .databases import Postgresql
from .kills import make_backlog
from .project import PATIENCE_SECONDS, Process, Shop
from .recovery import Fault, noted

pytestmark = [pytest.mark.fault(row=20), pytest.mark.parametrize("times", ["once", "twice"])]

#: Fewer than a relay sends at a time.
BACKLOG = 60
#: For all that is left to do beside handlers: telling the broker, and letting it go.
SETTLING_SECONDS = 10.0
AT_ONCE_SECONDS = 1.0
ENDED_BY_SIGTERM = 128 + signal.SIGTERM


class TestWhileAHandlerThatPublishesRuns:
    def test_on_rabbitmq_and_postgresql(self, rabbitmq_shop: Shop, times: str) -> None:
        self.see_it_end(rabbitmq_shop, times)

    def test_on_the_database_transport_and_postgresql(
        self, postgresql_shop: Shop, times: str
    ) -> None:
        self.see_it_end(postgresql_shop, times)

    def test_on_the_database_transport_and_sqlite(self, sqlite_shop: Shop, times: str) -> None:
        self.see_it_end(sqlite_shop, times)

    def see_it_end(self, shop: Shop, times: str) -> None:
        shop.set(IS_ORDERING_AGAIN=True)
        with shop.held():
            subscriber = begin_handling(shop)
            terminate(subscriber, times, "mid-handler")
        see_ended(subscriber, times)
        # The handler that ran came to its end, or left nothing.
        started = {(fact["handler"], fact["event"]) for fact in shop.ledgers.starts.read()}
        assert set(shop.effects()) == (started if times == "once" else set())
        settle(shop)


def test_while_a_relay_is_in_the_middle_of_a_batch(
    shop: Shop, restartable_rabbitmq: RabbitmqNode, times: str
) -> None:
    make_backlog(shop, BACKLOG)
    relay = shop.begin_stopped("while sending", BACKLOG // 2, "relay_outbox")
    with restartable_rabbitmq.frozen():
        # Nothing is confirmed meanwhile.
        relay.signal(signal.SIGTERM)
        relay.signal(signal.SIGCONT)
        if times == "twice":
            terminate(relay, times, "mid-batch")
    see_ended(relay, times)
    assert shop.outbox_count() == (0 if times == "once" else BACKLOG)
    settle(shop)


def test_while_the_broker_is_away_from_a_handler(
    shop: Shop, restartable_rabbitmq: RabbitmqNode, times: str
) -> None:
    with shop.held():
        subscriber = begin_handling(shop)
        restartable_rabbitmq.kill()
        shop.servers_killed += 1
        terminate(subscriber, times, "mid-handler, broker away")
    see_ended(subscriber, times)
    restartable_rabbitmq.start()
    settle(shop)


def test_while_the_broker_is_away_from_a_relay(
    shop: Shop, restartable_rabbitmq: RabbitmqNode, times: str
) -> None:
    make_backlog(shop, BACKLOG)
    restartable_rabbitmq.stop()
    relay = shop.begin("relay_outbox")
    relay.wait_for("Events wait in the outbox")
    terminate(relay, times, "relay, broker away")
    see_ended(relay, times, is_quick=True)
    restartable_rabbitmq.start()
    settle(shop)


class TestWhileTheDatabaseIsAway:
    def test_under_rabbitmq(
        self, make_shop: MakeShop, cluster: PostgresqlCluster, broker_url: str, times: str
    ) -> None:
        database = Postgresql(cluster.new_database())
        self.see_it_end(make_shop(database, Rabbitmq(broker_url)), cluster, times)

    def test_under_the_database_transport(
        self, make_shop: MakeShop, cluster: PostgresqlCluster, times: str
    ) -> None:
        database = Postgresql(cluster.new_database())
        self.see_it_end(make_shop(database, DatabaseQueues(database)), cluster, times)

    def see_it_end(self, shop: Shop, cluster: PostgresqlCluster, times: str) -> None:
        shop.do("prepare")
        with shop.held():
            subscriber = begin_handling(shop)
            cluster.kill()
            shop.servers_killed += 1
            terminate(subscriber, times, "mid-handler, database away")
        see_ended(subscriber, times)
        cluster.start()
        settle(shop)


@pytest.fixture
def shop(make_shop: MakeShop, restartable_rabbitmq: RabbitmqNode, postgresql_url: str) -> Shop:
    """On a node that may be stopped and killed."""
    shop = make_shop(Postgresql(postgresql_url), Rabbitmq(restartable_rabbitmq.new_vhost()))
    shop.set_broker(PUBLISH_TIMEOUT=PATIENCE_SECONDS)
    shop.do("prepare")
    restartable_rabbitmq.sync_new_queues()
    return shop


def begin_handling(shop: Shop) -> Process:
    """A subscriber with a running handler, which has just published, and more events at hand."""
    subscriber = shop.begin("run_subscriber")
    subscriber.wait_for("Ready:")
    shop.do("place_backlog", "10", "--key", "order.three", "--until-sent")
    wait_until(shop.ledgers.starts.read, PATIENCE_SECONDS, shop.story)
    return subscriber


def terminate(process: Process, times: str, when: str) -> None:
    """Signal it; where it is to be insisted on, until it is gone."""
    process.signal(signal.SIGTERM)
    if times == "twice":

        def is_gone() -> bool:
            # Two that come too close are one.
            process.signal(signal.SIGTERM)
            return not process.is_running

        with noted(Fault(20, f"SIGTERM twice, {when}", AT_ONCE_SECONDS)):
            wait_until(is_gone, PATIENCE_SECONDS, process.story)


def see_ended(process: Process, times: str, *, is_quick: bool = False) -> None:
    with noted(Fault(20, "after SIGTERM, from when the handler may end", SETTLING_SECONDS)):
        status = process.wait()
    expected = {0} if times == "once" else {ENDED_BY_SIGTERM}
    if is_quick:
        # The second one may come too late, or when Python is at its end and heeds none itself.
        expected |= {0, -signal.SIGTERM}
    assert status in expected, process.story()
    assert "Traceback" not in process.output


def settle(shop: Shop) -> None:
    shop.settle()
    shop.see_exactly_once()
