"""Every quorum queue that is declared has a member on each of three nodes."""

from __future__ import annotations

import pytest

from domain_event_broker import Subscriber
from domain_event_broker.transports import close_all
from domain_event_broker.transports.amqp.tiers import TIERS_MS
from tests.conftest import vhost_of
from tests.support.cluster import RabbitmqCluster
from tests.support.waiting import wait_until

pytestmark = pytest.mark.fault(row=4)


def test_each_queue_is_on_three_nodes(cluster: RabbitmqCluster, urls: list[str]) -> None:
    subscriber = Subscriber({"URL": urls})
    subscriber.register(lambda event: None, "kept", ["kept.*"], max_retries=1)
    subscriber.disconnect()
    close_all()

    names = sorted(node.name for node in cluster.nodes)

    def listed() -> list[str]:
        return [row["name"] for row in cluster.nodes[0].queues(vhost_of(urls[0]))]

    # The handler's, its dead letters', the orphans', and one for each delay.
    wait_until(lambda: len(listed()) == 3 + len(TIERS_MS), message=lambda: f"there are {listed()}")
    queues = listed()
    assert {"kept", "kept-dl", "domain-events-orphans"} <= set(queues)
    for queue in queues:
        assert cluster.members_of(vhost_of(urls[0]), queue) == names
