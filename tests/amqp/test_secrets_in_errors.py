"""No password in what is raised, nor in what an object says of itself."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import pytest

import domain_event_broker.settings as settings_module
from domain_event_broker import (
    DomainEventBrokerError,
    Publisher,
    Subscriber,
    publish_domain_event,
    publish_domain_events,
    publishing,
    replay_all,
    replay_event,
)
from domain_event_broker.errors import AccessRefused, SettingsError
from domain_event_broker.transports import transport_for
from domain_event_broker.transports.amqp.parameters import connection_parameters
from tests.support.ports import LOOPBACK, free_ports
from tests.support.rabbitmq import RabbitmqNode

SECRET = "hunter2secret"

#: Settings that cannot be used; each holds the secret.
BAD = {
    "slash in the password": f"amqp://user:{SECRET}/1@host/",
    "slash first in the password": f"amqp://user:/{SECRET}@host/",
    "hash in the password": f"amqp://user:{SECRET}#1@host/",
    "question mark in the password": f"amqp://user:{SECRET}?1@host/",
    "bracket in the password": f"amqp://user:[{SECRET}@host/",
    "bad escape": f"amqp://user:{SECRET}%zz@host:port/",
    "port of letters": f"amqp://user:{SECRET}@host:port/",
    "port too high": f"amqp://user:{SECRET}@host:99999/",
    "password as port": f"amqp://user:{SECRET}",
    "user without password": f"amqp://{SECRET}@host/",
    "unknown parameter": f"amqp://user:{SECRET}@host/?nonsense={SECRET}",
    "bad parameter": f"amqp://user:{SECRET}@host/?heartbeat={SECRET}",
    "bad options for TLS": f"amqps://user:{SECRET}@host/?ssl_options={SECRET}",
    "no scheme": f"user:{SECRET}@host/",
    "unknown scheme": f"http://user:{SECRET}@host/",
    "scheme alone": f"amqp:user:{SECRET}@host/",
    "white space": f" amqp://user:{SECRET}@host/",
    "line break": f"amqp://user:{SECRET}@host/\n",
    "address that is none": f"amqp://user:{SECRET}@[::1/",
    "bytes": f"amqp://user:{SECRET}@host/".encode(),
    "list": [f"amqp://user:{SECRET}@host/"],
    "unknown key": {"URL": f"amqp://user:{SECRET}@host/", "PREFETCHED": 1},
    "bad value": {"URL": f"amqp://user:{SECRET}@host/", "PREFETCH": "many"},
}

USES: dict[str, Callable[[Any], object]] = {
    "Publisher": lambda broker: Publisher(broker).publish(b"{}", "a.b"),
    "Subscriber": lambda broker: Subscriber(broker).register(print, "name", ["a.b"]),
    "publish_domain_event": lambda b: publish_domain_event("a.b", {}, connection_settings=b),
    "publish_domain_events": lambda broker: publish_domain_events([], broker),
    "replay_event": lambda broker: replay_event("name", connection_settings=broker),
    "replay_all": lambda broker: replay_all("name", connection_settings=broker),
}


def everything_about(error: BaseException) -> str:
    """Its text, its repr and its whole traceback, causes and contexts included."""
    formatted = traceback.format_exception(error)
    # The same, without minding what an error asks not to be shown.
    hidden = error.__context__ or error.__cause__
    if hidden is not None:
        formatted.append(everything_about(hidden))
    return "\n".join([str(error), repr(error), repr(error.args), *formatted])


def debug_page_about(error: BaseException) -> str:
    """What a debug page shows as well: the variables of each frame."""
    shown = []
    for frame, _ in traceback.walk_tb(error.__traceback__):
        shown += [f"{name} = {value!r}" for name, value in frame.f_locals.items()]
    hidden = error.__context__ or error.__cause__
    if hidden is not None:
        shown.append(debug_page_about(hidden))
    return "\n".join(shown)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", BAD)
def test_bad_settings_are_refused_without_quoting_them(kind: str, use: str) -> None:
    with pytest.raises(SettingsError) as caught:
        USES[use](BAD[kind])
    assert SECRET not in everything_about(caught.value)


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_default_is_shown_nowhere(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_module, "BROKER", BAD[kind])
    with pytest.raises(SettingsError) as caught:
        Publisher().publish(b"{}", "a.b")
    assert SECRET not in everything_about(caught.value)
    assert SECRET not in debug_page_about(caught.value)


CONNECTING = sorted(set(USES) - {"publish_domain_events"})


@pytest.mark.parametrize("use", CONNECTING)
def test_a_refusal_does_not_quote_the_password(
    rabbitmq: RabbitmqNode, broker_url: str, use: str
) -> None:
    with pytest.raises(AccessRefused) as caught:
        USES[use](broker_url.replace("guest:guest", f"guest:{SECRET}"))
    text = everything_about(caught.value)
    assert SECRET not in text
    assert f"{LOOPBACK}:{rabbitmq.port}" in text


@pytest.mark.parametrize("use", CONNECTING)
def test_a_refusal_by_the_default_broker_shows_it_nowhere(
    broker_url: str, use: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = broker_url.replace("guest:guest", f"guest:{SECRET}")
    monkeypatch.setattr(settings_module, "BROKER", default)
    del default
    monkeypatch.setattr(publishing, "_default_publish", publishing._publish_to_process_default)
    with pytest.raises(AccessRefused) as caught:
        USES[use]("")
    assert SECRET not in debug_page_about(caught.value)


@pytest.mark.parametrize("use", CONNECTING)
def test_a_broker_that_is_away_does_not_either(use: str) -> None:
    url = f"amqp://user:{SECRET}@{LOOPBACK}:{free_ports(1)[0]}/"
    with pytest.raises(DomainEventBrokerError) as caught:
        USES[use]({"URL": url, "PUBLISH_TIMEOUT": 0.2})
    assert SECRET not in everything_about(caught.value)


def test_no_object_shows_the_password(broker_url: str) -> None:
    url = broker_url.replace("?", "") + "?heartbeat=30"
    settings = settings_module.parse(url.replace("guest:guest", f"guest:{SECRET}"))
    assert settings is not None
    transport = transport_for(settings)
    consumer = transport.consumer()
    shown = [
        settings,
        Publisher(settings),
        Subscriber(settings),
        transport,
        consumer,
        connection_parameters(settings, "test"),
        settings.safe_url,
        {"settings": settings},
    ]
    for thing in shown:
        assert SECRET not in f"{thing} {thing!r} {thing!s}"
    assert SECRET not in repr(vars(transport))
    assert SECRET not in repr(vars(consumer))
