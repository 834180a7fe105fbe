"""Certificates that are renewed, well or badly, under a subscriber that runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from domain_event_broker import Subscriber, publish_domain_event
from domain_event_broker.errors import TlsFailed
from tests.amqp.support import PATIENCE_SECONDS, Recorder, wait_for_subscribers
from tests.conftest import vhost_of
from tests.support.certificates import YESTERDAY, Authority
from tests.support.consuming import consuming
from tests.support.ports import LOOPBACK
from tests.support.releases import Release
from tests.support.tls_rabbitmq import TlsRabbitmqNode
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def module_node(rabbitmq_release: Release) -> Iterator[TlsRabbitmqNode]:
    with TlsRabbitmqNode(rabbitmq_release) as node:
        yield node


@pytest.fixture
def node(module_node: TlsRabbitmqNode) -> Iterator[TlsRabbitmqNode]:
    yield module_node
    module_node.start()
    module_node.present(module_node.authority)


@pytest.fixture(autouse=True)
def _every_attempt_is_seen(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "domain_event_broker")


@pytest.fixture
def settings(node: TlsRabbitmqNode, tmp_path: Path) -> dict[str, Any]:
    """With a copy of the authority's certificate, that a test may spoil."""
    (tmp_path / "ca.pem").write_bytes(node.authority.path.read_bytes())
    return {
        "URL": node.tls_url_of(vhost_of(node.new_vhost())),
        "TLS": {"CA": tmp_path / "ca.pem"},
        "RECONNECT_DELAY": 0.2,
        "MAX_RECONNECT_DELAY": 1,
        "PUBLISH_TIMEOUT": PATIENCE_SECONDS,
    }


@pytest.fixture
def seen(settings: dict[str, Any]) -> Iterator[Recorder]:
    """What a subscriber handled that runs, and has handled one event."""
    seen = Recorder()
    subscriber = Subscriber(settings)
    subscriber.register(seen, "leavers", ["user.*"])
    with consuming(subscriber):
        publish_domain_event("user.left", {}, connection_settings=settings)
        seen.wait_for(1)
        yield seen


def wait_for_attempts(caplog: pytest.LogCaptureFixture, words: str) -> None:
    """Wait until the subscriber failed to connect several times, for the reason told."""

    def levels() -> list[int]:
        told = [record for record in caplog.records if words in record.getMessage()]
        return [record.levelno for record in told if "subscriber" in record.getMessage()]

    wait_until(lambda: len(levels()) >= 3, PATIENCE_SECONDS, lambda: f"{words}: {levels()}")
    assert levels()[0] == logging.ERROR


def lose_connections(node: TlsRabbitmqNode, settings: dict[str, Any]) -> None:
    wait_for_subscribers(node, vhost_of(settings["URL"]))
    node.close_connections(vhost_of(settings["URL"]))


def test_a_subscriber_outlives_a_broker_whose_certificate_has_expired(
    node: TlsRabbitmqNode,
    settings: dict[str, Any],
    seen: Recorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    node.present(node.authority, LOOPBACK, not_after=YESTERDAY)
    lose_connections(node, settings)
    wait_for_attempts(caplog, "has expired")
    with pytest.raises(TlsFailed, match="has expired"):
        publish_domain_event("user.left", {}, connection_settings=settings)
    node.present(node.authority)
    publish_domain_event("user.left", {}, connection_settings=settings)
    seen.wait_for(2)


def test_a_subscriber_outlives_an_authority_file_that_is_just_being_written(
    node: TlsRabbitmqNode,
    settings: dict[str, Any],
    seen: Recorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    file = settings["TLS"]["CA"]
    file.write_text("")
    lose_connections(node, settings)
    wait_for_attempts(caplog, "holds no certificate")
    file.write_bytes(node.authority.path.read_bytes())
    publish_domain_event("user.left", {}, connection_settings=settings)
    seen.wait_for(2)


def test_a_new_authority_counts_without_a_restart(
    node: TlsRabbitmqNode, settings: dict[str, Any], seen: Recorder, tmp_path: Path
) -> None:
    other = Authority(tmp_path / "other")
    both = node.authority.path.read_bytes() + other.path.read_bytes()
    settings["TLS"]["CA"].write_bytes(both)
    node.present(other)
    lose_connections(node, settings)
    publish_domain_event("user.left", {}, connection_settings=settings)
    seen.wait_for(2)


def test_a_subscriber_outlives_a_broker_that_is_killed(
    node: TlsRabbitmqNode, settings: dict[str, Any], seen: Recorder
) -> None:
    node.sync_new_queues()
    node.kill()
    node.start()
    publish_domain_event("user.left", {}, connection_settings=settings)
    seen.wait_for(2)
