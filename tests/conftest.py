"""Fixtures for every test: a RabbitMQ node per asked-for release, and fresh vhosts on it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from urllib.parse import unquote, urlsplit

import pytest

from tests.support.rabbitmq import RabbitmqNode
from tests.support.releases import Release, ReleaseNotFound, find_release, requested_releases

PrivateRabbitmq = Callable[..., RabbitmqNode]


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark each test that needs a RabbitMQ node, so that `-m "not broker"` leaves it out."""
    if "rabbitmq_release" in getattr(item, "fixturenames", ()):
        item.add_marker("broker")


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


def vhost_of(url: str) -> str:
    return unquote(urlsplit(url).path[1:])
