"""A project whose broker is reached over TLS, each command a process of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from domain_event_broker import publish_domain_event
from domain_event_broker.django import conf
from domain_event_broker.transports import close_all
from tests.conftest import vhost_of
from tests.support.releases import Release
from tests.support.tls_rabbitmq import TlsRabbitmqNode

from .project import Project

HANDLER = """
from pathlib import Path

from domain_event_broker.django import domain_event_handler


@domain_event_handler("order.*", name="reserve", inbox=False)
def reserve(event):
    (Path(__file__).resolve().parent / "handled").write_text(event.uuid_string)
"""


@pytest.fixture(scope="module")
def node(rabbitmq_release: Release) -> Iterator[TlsRabbitmqNode]:
    with TlsRabbitmqNode(rabbitmq_release, demands_certificates=True) as node:
        yield node


@pytest.fixture(autouse=True)
def _connections_of_its_own() -> Iterator[None]:
    """None of this process is left when the node ends."""
    yield
    close_all()


def test_the_subscriber_runs_over_tls_or_says_why_it_cannot(
    project: Project, node: TlsRabbitmqNode
) -> None:
    own = node.authority.issue("own", "shop")
    tls = {"CA": str(node.authority.path), **own.settings}
    setting = {"URL": node.tls_url_of(vhost_of(node.new_vhost())), "TLS": tls}
    project.write("orders/domain_events.py", HANDLER)

    project.set(DOMAIN_EVENT_BROKER={**setting, "TLS": {"CA": tls["CA"]}})
    without = project.run("run_subscriber", "--drain")
    project.set(DOMAIN_EVENT_BROKER=setting)
    # Declared first, so that nothing is published before there is a queue for it.
    first = project.run("run_subscriber", "--drain")
    event = publish_domain_event("order.placed", {}, connection_settings=setting)
    second = project.run("run_subscriber", "--drain")

    assert without.returncode == 1
    assert "demands a client certificate. Give CERTIFICATE and KEY in TLS." in without.stderr
    assert "Traceback" not in without.stderr
    assert "guest" not in without.stderr
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.startswith("Ready: running 1 handler on amqps://")
    assert (second.returncode, second.stderr) == (0, "")
    assert (project.folder / "orders" / "handled").read_text() == event.uuid_string


def test_manage_py_check_tells_a_key_that_does_not_fit(
    project: Project, node: TlsRabbitmqNode
) -> None:
    own, other = node.authority.issue("own", "shop"), node.authority.issue("other", "shop")
    tls = {"CERTIFICATE": str(own.certificate), "KEY": str(other.key)}
    project.set(DOMAIN_EVENT_BROKER={"URL": node.tls_url, "TLS": tls})
    finished = project.run("check")

    assert finished.returncode == 1
    assert f"KEY in TLS: {other.key} is not the key of the certificate" in finished.stderr
    assert "(domain_event_broker.E001)" in finished.stderr


def test_the_password_of_the_key_is_hidden_in_the_setting(settings: Settings) -> None:
    tls = {"CERTIFICATE": "/own.pem", "KEY": "/own.key", "KEY_PASSWORD": "s3cr3t"}
    settings.DOMAIN_EVENT_BROKER = {"URL": "amqps://rabbit.example.com/", "TLS": tls}
    with pytest.raises(conf.InvalidSettings, match=r"/own\.pem cannot be read"):
        conf.current()

    assert settings.DOMAIN_EVENT_BROKER["TLS"] == tls
    assert "s3cr3t" not in repr(settings.DOMAIN_EVENT_BROKER)


def test_verify_false_is_told_by_the_check_and_not_logged_there(
    project: Project, node: TlsRabbitmqNode
) -> None:
    project.set(DOMAIN_EVENT_BROKER={"URL": node.tls_url, "TLS": {"VERIFY": False}})
    finished = project.run("check")

    assert finished.returncode == 0
    assert finished.stderr.count("VERIFY in TLS is False") == 1
    assert "(domain_event_broker.W008)" in finished.stderr
