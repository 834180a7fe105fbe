"""One cluster for all tests of this folder, and the test project on it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.conftest import vhost_of
from tests.support.cluster import RabbitmqCluster
from tests.support.releases import Release, requested_releases

from ..brokers import Rabbitmq
from ..conftest import MakeShop
from ..databases import Postgresql
from ..project import Shop
from .busy import Busy

#: A consumer on a node that is frozen notices by heartbeats alone: sooner than by default.
HEARTBEAT_SECONDS = 4
#: Takes minutes.
SOAK_ROW = 24
SOAK_VARIABLE = "SOAK_SECONDS"


@pytest.fixture(scope="package")
def package_cluster(rabbitmq_release: Release) -> Iterator[RabbitmqCluster]:
    """The cluster behind `cluster`; not for tests themselves."""
    with RabbitmqCluster(rabbitmq_release) as cluster:
        yield cluster


@pytest.fixture
def cluster(package_cluster: RabbitmqCluster) -> RabbitmqCluster:
    """Three nodes that a test may kill, freeze and cut off; the next test gets them whole."""
    package_cluster.start()
    return package_cluster


@pytest.fixture
def urls(cluster: RabbitmqCluster) -> Iterator[list[str]]:
    """Those of the nodes, for an empty virtual host, which is deleted after the test."""
    urls = cluster.new_vhost()
    yield urls
    cluster.start()
    cluster.delete_vhost(vhost_of(urls[0]))


@pytest.fixture
def cluster_shop(make_shop: MakeShop, urls: list[str], postgresql_url: str) -> Shop:
    """On all nodes, and PostgreSQL."""
    shop = make_shop(Postgresql(postgresql_url), Rabbitmq(*urls))
    shop.set_broker(HEARTBEAT=HEARTBEAT_SECONDS, SERVICE="shop")
    shop.do("prepare")
    return shop


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Soak the first of the releases alone, unless it is said for how long."""
    if SOAK_VARIABLE in os.environ:
        return
    first = requested_releases()[0]
    left_out = [item for item in items if is_soaking(item) and release_of(item) != first]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def is_soaking(item: pytest.Item) -> bool:
    return any(mark.kwargs.get("row") == SOAK_ROW for mark in item.iter_markers("fault"))


def release_of(item: pytest.Item) -> str | None:
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get("rabbitmq_release")


MakeBusy = Callable[[], Busy]


@pytest.fixture
def make_busy(cluster: RabbitmqCluster, urls: list[str], cluster_shop: Shop) -> MakeBusy:
    """Have the cluster be busy, `with make_busy() as busy`, as often as there are runs."""
    settings = {"URL": urls, "HEARTBEAT": HEARTBEAT_SECONDS}
    return lambda: Busy(cluster, cluster_shop, settings)
