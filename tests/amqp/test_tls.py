"""Events over TLS, and what is told where it does not come about."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

import pytest

from domain_event_broker import (
    DomainEvent,
    Retry,
    Subscriber,
    publish_domain_event,
    publish_domain_events,
    replay_all,
)
from domain_event_broker.errors import AccessRefused, BrokerUnavailable, TlsFailed
from domain_event_broker.names import dead_letter_queue
from domain_event_broker.settings import BrokerSetting, safe_url
from domain_event_broker.transports.base import Outcome
from tests.amqp import publishing_process as scenarios
from tests.amqp.support import PATIENCE_SECONDS, Recorder, wait_for_dead_letter
from tests.amqp.test_publishing_processes import (
    connections,
    go_on,
    has_said_goodbye,
    next_line,
    published,
    running,
    stored,
)
from tests.conftest import vhost_of
from tests.support.certificates import YESTERDAY, Authority
from tests.support.consuming import consuming
from tests.support.ports import LOOPBACK
from tests.support.raw_amqp import bind_queue, ready_count
from tests.support.releases import Release
from tests.support.tls_rabbitmq import TlsRabbitmqNode
from tests.support.waiting import wait_until

MANY = 3_000


@pytest.fixture(scope="module")
def node(rabbitmq_release: Release) -> Iterator[TlsRabbitmqNode]:
    with TlsRabbitmqNode(rabbitmq_release) as node:
        yield node


@pytest.fixture
def plain_url(node: TlsRabbitmqNode) -> str:
    """A fresh virtual host, without TLS."""
    return node.new_vhost()


@pytest.fixture
def url(node: TlsRabbitmqNode, plain_url: str) -> str:
    return node.tls_url_of(vhost_of(plain_url))


@pytest.fixture
def settings(node: TlsRabbitmqNode, url: str) -> dict[str, Any]:
    return {"URL": url, "TLS": {"CA": node.authority.path}}


def failure(kind: type[Exception], settings: BrokerSetting) -> str:
    """What a publish and a subscriber are told, which is the same. Neither waits for long."""
    with pytest.raises(kind) as published:
        publish_domain_event("user.left", {}, connection_settings=settings)
    with pytest.raises(kind) as registered:
        Subscriber(settings).register(lambda event: None, "leavers", ["user.*"])
    assert str(published.value) == str(registered.value)
    assert "guest" not in str(published.value)
    return str(published.value)


# Where it works


def test_events_are_published_retried_dead_lettered_and_replayed(
    node: TlsRabbitmqNode, settings: dict[str, Any], plain_url: str
) -> None:
    def fail_twice(event: DomainEvent) -> None:
        if len(seen.events) == 1:
            raise Retry(0.1)
        if len(seen.events) == 2:
            raise ValueError("cannot handle this")

    seen = Recorder(fail_twice)
    subscriber = Subscriber(settings)
    subscriber.register(seen, "leavers", ["user.*"], max_retries=1)
    with consuming(subscriber):
        event = publish_domain_event("user.left", {}, connection_settings=settings)
        seen.wait_for(2)
        rows = wait_until(lambda: node.connections(vhost_of(plain_url)), PATIENCE_SECONDS)
        wait_until(lambda: ready_count(plain_url, dead_letter_queue("leavers")), PATIENCE_SECONDS)
        assert replay_all("leavers", connection_settings=settings) == 0
        seen.wait_for(3)

    assert [each.uuid_string for each in seen.events] == [event.uuid_string] * 3
    assert {(row["ssl"], row["ssl_protocol"]) for row in rows} <= {
        (True, "tlsv1.2"),
        (True, "tlsv1.3"),
    }


def test_a_dead_letter_tells_its_reason(settings: dict[str, Any], plain_url: str) -> None:
    def fail(event: DomainEvent) -> None:
        raise ValueError("cannot handle this")

    subscriber = Subscriber(settings)
    subscriber.register(fail, "leavers", ["user.*"])
    publish_domain_event("user.left", {}, connection_settings=settings)
    subscriber.start_consuming(PATIENCE_SECONDS, drain=True)

    assert wait_for_dead_letter(plain_url, "leavers").error_message == "cannot handle this"


def test_many_large_events_come_through_in_order(settings: dict[str, Any]) -> None:
    """More than a record of TLS, and more than a read of the socket takes, both ways."""
    seen = Recorder()
    subscriber = Subscriber(settings)
    subscriber.register(seen, "leavers", ["user.*"])
    events = [DomainEvent("user.left", {"n": n, "fill": "x" * (n * 20)}) for n in range(MANY)]
    results = publish_domain_events(events, settings)
    assert {result.outcome for result in results} == {Outcome.CONFIRMED}
    subscriber.start_consuming(PATIENCE_SECONDS * 4, max_events=MANY)

    assert [event.data["n"] for event in seen.events] == list(range(MANY))


def test_without_the_setting_the_systems_authorities_count(
    node: TlsRabbitmqNode, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(node.authority.path))

    publish_domain_event("user.left", {}, connection_settings=url)


def test_a_broker_of_another_name_is_verified_by_it(
    node: TlsRabbitmqNode, plain_url: str, settings: dict[str, Any]
) -> None:
    """As behind a tunnel: the certificate is for this name, and the URL has an address."""
    node.present(node.authority, "broker.example")
    try:
        told = failure(TlsFailed, settings)
        named = {**settings["TLS"], "SERVER_HOSTNAME": "broker.example"}
        publish_domain_event("user.left", {}, connection_settings={**settings, "TLS": named})
    finally:
        node.present(node.authority)

    assert told == (
        f"The certificate of {shown(settings)} is for another name: IP address mismatch, "
        f"certificate is not valid for '{LOOPBACK}'. Connect by a name that it is for, or give "
        "that as SERVER_HOSTNAME in TLS."
    )
    publish_domain_event("user.left", {}, connection_settings=settings)


def test_each_node_of_a_list_is_verified_by_its_own_name(
    node: TlsRabbitmqNode, plain_url: str, settings: dict[str, Any]
) -> None:
    node.present(node.authority, "localhost")
    by_name = node.tls_url_of(vhost_of(plain_url), "localhost")
    try:
        for _ in range(3):  # in an order of its own each
            both = {**settings, "URL": [settings["URL"], by_name]}
            subscriber = Subscriber(both)
            subscriber.register(lambda event: None, "leavers", ["user.*"])
            subscriber.disconnect()
    finally:
        node.present(node.authority)


def test_verify_false_takes_any_broker_and_says_so_once(
    node: TlsRabbitmqNode, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"URL": url, "TLS": {"VERIFY": False}}
    subscriber = Subscriber(settings)
    subscriber.register(lambda event: None, "leavers", ["user.*"])
    publish_domain_event("user.left", {}, connection_settings=settings)
    subscriber.disconnect()

    (warning,) = [r for r in caplog.records if r.levelno == logging.WARNING and "VERIFY" in r.msg]
    assert safe_url(url) in warning.getMessage()


# Where it does not


def shown(settings: dict[str, Any]) -> str:
    return safe_url(settings["URL"])


def test_an_unknown_authority(settings: dict[str, Any], tmp_path: Path) -> None:
    other = Authority(tmp_path)

    told = failure(TlsFailed, {**settings, "TLS": {"CA": other.path}})
    assert told.startswith(
        f"The certificate of {shown(settings)} is signed by no authority in {other.path} here ("
    )
    assert told.endswith("Give the certificate of the broker's authority as CA in TLS.")
    told = failure(TlsFailed, str(settings["URL"]))
    assert told.startswith(
        f"The certificate of {shown(settings)} is signed by no authority known here ("
    )


def test_an_expired_certificate(node: TlsRabbitmqNode, settings: dict[str, Any]) -> None:
    node.present(node.authority, LOOPBACK, not_after=YESTERDAY)
    try:
        told = failure(TlsFailed, settings)
    finally:
        node.present(node.authority)

    assert told.startswith(f"The certificate of {shown(settings)} has expired")


def test_a_port_without_tls(node: TlsRabbitmqNode, settings: dict[str, Any]) -> None:
    wrong = {**settings, "URL": settings["URL"].replace(f":{node.tls_port}/", f":{node.port}/")}

    assert failure(TlsFailed, wrong) == (
        f"{shown(wrong)} does not speak TLS at this port. Give the port with TLS, which is 5671 "
        "unless the broker was told otherwise; 5672 is the one without."
    )


def test_a_port_with_tls(settings: dict[str, Any]) -> None:
    wrong = settings["URL"].replace("amqps:", "amqp:")

    assert failure(TlsFailed, wrong) == (
        f"{safe_url(wrong)} speaks TLS at this port. Write amqps:// in URL, or give the port "
        "without TLS, which is 5672 unless the broker was told otherwise."
    )


def test_a_client_certificate_alone_where_the_broker_wants_a_user(
    node: TlsRabbitmqNode, plain_url: str, settings: dict[str, Any]
) -> None:
    own = node.authority.issue("own", "shop").settings
    url = node.tls_url_of(vhost_of(plain_url), user="")

    told = failure(AccessRefused, {"URL": url, "TLS": {**settings["TLS"], **own}})
    assert told.startswith(f"{safe_url(url)} takes no client certificate in place of a user. ")


def test_whoever_accepts_and_says_nothing_is_given_up(settings: dict[str, Any]) -> None:
    with socket.create_server((LOOPBACK, 0)) as silent:
        url = f"amqps://u:p@{LOOPBACK}:{silent.getsockname()[1]}/?stack_timeout=1"
        with pytest.raises(BrokerUnavailable, match="Timeout while setting up transport"):
            Subscriber({**settings, "URL": url}).register(lambda event: None, "leavers", ["user.*"])


def test_whoever_ends_the_handshake_is_away(settings: dict[str, Any]) -> None:
    """As a load balancer does without a broker behind it: no fault of the configuration."""

    def close_each(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                listener.accept()[0].close()

    with socket.create_server((LOOPBACK, 0)) as listener:
        Thread(target=close_each, args=[listener], daemon=True).start()
        url = f"amqps://u:p@{LOOPBACK}:{listener.getsockname()[1]}/"
        with pytest.raises(BrokerUnavailable):
            Subscriber({**settings, "URL": url}).register(lambda event: None, "leavers", ["user.*"])
        listener.shutdown(socket.SHUT_RDWR)


# Forks


@pytest.fixture
def process_url(node: TlsRabbitmqNode, url: str, plain_url: str) -> str:
    """For processes that take nothing but a URL; with a queue, `seen`, that gets every event."""
    bind_queue(plain_url, "seen", "#")
    options = quote(repr({"cafile": str(node.authority.path)}))
    return f"{url}?ssl_options={options}"


def test_a_forked_child_leaves_the_encrypted_connection_of_its_parent_alone(
    node: TlsRabbitmqNode, process_url: str, plain_url: str
) -> None:
    vhost = vhost_of(plain_url)
    with running(scenarios.fork_and_publish, process_url) as process:
        assert next_line(process) == "published"
        (parents,) = wait_until(lambda: connections(node, vhost), PATIENCE_SECONDS)
        go_on(process)
        assert next_line(process) == "child-ended"
        wait_until(lambda: connections(node, vhost) == [parents], PATIENCE_SECONDS)
        _, errors = process.communicate("\n", PATIENCE_SECONDS)
        assert (process.returncode, errors) == (0, "")
    expected = published(0, 10) + published(0, 10) + published(0, 10) + published(1, 10)
    assert stored(plain_url) == expected
    assert has_said_goodbye(node, vhost)


def test_forking_while_threads_publish_over_tls_disturbs_neither(
    process_url: str, plain_url: str
) -> None:
    with running(scenarios.fork_beside_threads, process_url) as process:
        _, errors = process.communicate(timeout=PATIENCE_SECONDS * 2)
        assert (process.returncode, errors) == (0, "")
    events = stored(plain_url)
    for child in range(1, 11):
        assert {n: events[child, n] for n in range(10)} == dict.fromkeys(range(10), 1)


def test_the_death_of_the_parent_is_noticed_though_a_child_has_its_tls_connection(
    node: TlsRabbitmqNode, process_url: str, plain_url: str
) -> None:
    with running(scenarios.fork_and_linger, f"{process_url}&heartbeat=3600") as process:
        next_line(process)
        wait_until(lambda: connections(node, vhost_of(plain_url)), PATIENCE_SECONDS)
        process.kill()
        # No heartbeat tells the broker, only the end of the connection does.
        wait_until(lambda: not connections(node, vhost_of(plain_url)), PATIENCE_SECONDS)
        assert process.stdin is not None
        process.stdin.close()
