"""A broker that demands client certificates: who is let in, and what the others are told."""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pika.adapters.utils.io_services_utils import _AsyncSSLTransport

from domain_event_broker import Subscriber, publish_domain_event
from domain_event_broker.errors import AccessRefused, TlsFailed
from domain_event_broker.settings import safe_url
from tests.amqp.support import PATIENCE_SECONDS, Recorder
from tests.conftest import vhost_of
from tests.support.certificates import YESTERDAY, Authority, Identity
from tests.support.releases import Release
from tests.support.tls_rabbitmq import TlsRabbitmqNode
from tests.support.waiting import wait_until

#: A user of the broker, named by a client certificate.
USER = "shop"
LOGIN_BY_CERTIFICATE = {
    "auth_mechanisms.1": "PLAIN",
    "auth_mechanisms.2": "EXTERNAL",
    "ssl_cert_login_from": "common_name",
}


@pytest.fixture(scope="module")
def node(rabbitmq_release: Release) -> Iterator[TlsRabbitmqNode]:
    plugins = ["rabbitmq_auth_mechanism_ssl"]
    with TlsRabbitmqNode(
        rabbitmq_release, LOGIN_BY_CERTIFICATE, plugins, demands_certificates=True
    ) as node:
        node.management.put("users", USER, body={"password": "unused", "tags": ""})
        yield node


@pytest.fixture
def vhost(node: TlsRabbitmqNode) -> str:
    name = vhost_of(node.new_vhost())
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    node.management.put("permissions", name, USER, body=everything)
    return name


@pytest.fixture
def own(node: TlsRabbitmqNode) -> Identity:
    return node.authority.issue("own", USER, common_name=USER)


@pytest.fixture(params=["TLS 1.2", "TLS 1.3"])
def version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """In 1.3 the broker refuses a certificate only once the handshake seems to be done."""
    if request.param == "TLS 1.2":
        create = ssl.create_default_context

        def create_older(**arguments: Any) -> ssl.SSLContext:
            context = create(**arguments)
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            return context

        monkeypatch.setattr(ssl, "create_default_context", create_older)
    return str(request.param)


def settings_of(
    node: TlsRabbitmqNode, vhost: str, own: Identity | None, user: str = "guest:guest"
) -> dict[str, Any]:
    tls = {"CA": node.authority.path, **(own.settings if own else {})}
    return {"URL": node.tls_url_of(vhost, user=user), "TLS": tls}


def failure(kind: type[Exception], settings: dict[str, Any]) -> str:
    with pytest.raises(kind) as published:
        publish_domain_event("user.left", {}, connection_settings=settings)
    with pytest.raises(kind) as registered:
        Subscriber(settings).register(lambda event: None, "leavers", ["user.*"])
    assert str(published.value) == str(registered.value)
    return str(published.value)


def pass_one(settings: dict[str, Any]) -> None:
    """Publish and receive one event."""
    seen = Recorder()
    subscriber = Subscriber(settings)
    subscriber.register(seen, "leavers", ["user.*"])
    publish_domain_event("user.left", {}, connection_settings=settings)
    subscriber.start_consuming(PATIENCE_SECONDS, max_events=1)
    assert seen.keys == ["user.left"]


@pytest.mark.usefixtures("version")
def test_a_user_with_a_client_certificate_is_let_in(
    node: TlsRabbitmqNode, vhost: str, own: Identity
) -> None:
    pass_one(settings_of(node, vhost, own))


def test_a_client_certificate_alone_names_its_user(
    node: TlsRabbitmqNode, vhost: str, own: Identity
) -> None:
    settings = settings_of(node, vhost, own, user="")
    pass_one(settings)
    with_user = Subscriber(settings)
    with_user.register(lambda event: None, "others", ["user.*"])
    assert {row["user"] for row in node.connections(vhost)} <= {USER}
    with_user.disconnect()


def test_a_certificate_that_names_no_user(node: TlsRabbitmqNode, vhost: str) -> None:
    stranger = node.authority.issue("stranger", "stranger", common_name="stranger")
    settings = settings_of(node, vhost, stranger, user="")

    assert failure(AccessRefused, settings) == (
        f"{safe_url(settings['URL'])} has no user that the client certificate names. Make one "
        "there (rabbitmqctl add_user), or name a user in URL."
    )


def test_no_certificate(node: TlsRabbitmqNode, vhost: str, version: str) -> None:
    settings = settings_of(node, vhost, None)

    told = failure(TlsFailed, settings)
    if version == "TLS 1.2":  # which has no word for it
        assert "Most likely it demands a client certificate: give CERTIFICATE and KEY" in told
    else:
        assert told == (
            f"{safe_url(settings['URL'])} demands a client certificate. Give CERTIFICATE and KEY "
            "in TLS."
        )


def test_a_refusal_that_overtakes_our_greeting_is_told_all_the_same(
    node: TlsRabbitmqNode, vhost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then what fails on some releases is the greeting, and the reason is still to be read."""
    write: Callable[[Any], None] = _AsyncSSLTransport._on_socket_writable
    read: Callable[[Any], None] = _AsyncSSLTransport._on_socket_readable
    greeted: set[int] = set()

    def write_late(transport: Any) -> None:
        wait_until(lambda: has_ended(transport._sock), PATIENCE_SECONDS)
        greeted.add(id(transport))
        write(transport)

    def read_later(transport: Any) -> None:
        if id(transport) in greeted:
            read(transport)

    monkeypatch.setattr(_AsyncSSLTransport, "_on_socket_writable", write_late)
    monkeypatch.setattr(_AsyncSSLTransport, "_on_socket_readable", read_later)

    assert "demands a client certificate" in failure(TlsFailed, settings_of(node, vhost, None))
    assert greeted


def has_ended(connection: socket.socket) -> bool:
    """Whether the other side closed it, while what it said may still wait to be read."""
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    return bool(poll.poll(0))


@pytest.mark.usefixtures("version")
def test_a_certificate_of_another_authority(
    node: TlsRabbitmqNode, vhost: str, tmp_path: Path
) -> None:
    foreign = Authority(tmp_path).issue("foreign", USER, common_name=USER)
    settings = settings_of(node, vhost, foreign)

    assert failure(TlsFailed, settings) == (
        f"{safe_url(settings['URL'])} refused the client certificate {foreign.certificate} "
        "(unknown ca). See whether it has expired, and whether the broker knows the authority "
        "that signed it."
    )


@pytest.mark.usefixtures("version")
def test_a_certificate_that_has_expired(node: TlsRabbitmqNode, vhost: str) -> None:
    old = node.authority.issue("old", USER, common_name=USER, not_after=YESTERDAY)
    settings = settings_of(node, vhost, old)

    assert failure(TlsFailed, settings).startswith(
        f"{safe_url(settings['URL'])} refused the client certificate {old.certificate} "
        "(certificate expired)."
    )
