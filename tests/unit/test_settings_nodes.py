"""The nodes of a cluster: a list of URLs, each checked, and none with its password shown."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

import domain_event_broker.settings as settings_module
from domain_event_broker.errors import SettingsError
from domain_event_broker.settings import Settings, parse, resolve

SECRET = "s3cr3t"
ONE = f"amqp://u:{SECRET}@one:5672/shop?heartbeat=7"
TWO = f"amqp://u:{SECRET}@two:5672/shop"


def read(setting: object) -> Settings:
    settings = parse(setting)
    assert settings is not None
    return settings


@pytest.mark.parametrize("urls", [[ONE, TWO], (ONE, TWO)])
def test_a_list_names_the_nodes_in_its_order(urls: Any) -> None:
    settings = read({"URL": urls})

    assert settings.urls == (ONE, TWO)
    assert settings == Settings(url=[ONE, TWO]) == Settings(url=(ONE, TWO))
    assert hash(settings) == hash(Settings(url=(ONE, TWO)))
    assert settings != read({"URL": [TWO, ONE]})
    assert settings.scheme == "amqp"


def test_a_list_of_one_is_that_one() -> None:
    assert read({"URL": [ONE]}) == read(ONE)
    assert read(ONE).urls == (ONE,)


def test_each_node_has_all_other_settings() -> None:
    settings = read({"URL": [ONE, TWO], "PREFETCH": 3, "EXCHANGE": "mine"})

    assert settings.nodes == (
        Settings(url=ONE, prefetch=3, exchange="mine"),
        Settings(url=TWO, prefetch=3, exchange="mine"),
    )
    assert settings.with_exchange("other", "topic").urls == (ONE, TWO)


def test_all_nodes_are_shown_without_their_secrets() -> None:
    settings = read({"URL": [ONE, TWO]})

    assert settings.safe_url == "amqp://one:5672/shop, amqp://two:5672/shop"
    assert SECRET not in repr(settings) + str(settings) + settings.safe_url


@pytest.mark.parametrize(
    ("urls", "reason"),
    [
        ([], "URL is an empty list"),
        ((), "URL is an empty list"),
        ([ONE, ""], "non-empty string"),
        ([ONE, None], "non-empty string"),
        ([ONE, [TWO]], "non-empty string"),
        ({ONE, TWO}, "non-empty string"),
        ([ONE, f"amqp://u:{SECRET}/x@two/"], "cannot be read"),
        ([ONE, f"amqp://u:{SECRET}@two/shop#"], "holds a '#'"),
        ([ONE, f"amqps://u:{SECRET}@two/shop"], "the schemes amqp and amqps"),
        ([ONE, f"amqp://u:{SECRET}@two/other"], "different virtual hosts"),
        ([ONE, f"amqp://u:{SECRET}@two/"], "different virtual hosts"),
        (["memory://one", "memory://two"], "memory:// takes one URL"),
        (["database://default", "database://other"], "database:// takes one URL"),
    ],
)
def test_what_cannot_be_one_cluster_is_refused(urls: Any, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason) as caught:
        Settings(url=urls)

    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_the_default_virtual_host_may_be_written_in_any_way() -> None:
    urls = ["amqp://one", "amqp://two/", "amqp://three/%2F", "AMQP://four:5673/%2f"]

    assert read({"URL": urls}).urls == tuple(urls)


def test_a_list_of_one_may_be_of_any_scheme() -> None:
    assert read({"URL": ["memory://x"]}) == read("memory://x")


def test_a_list_that_is_changed_in_place_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    urls = [ONE]
    monkeypatch.setattr(settings_module, "BROKER", {"URL": urls})
    before = resolve()
    urls.append(TWO)
    after = resolve()

    assert before is not None
    assert after is not None
    assert (before.urls, after.urls) == ((ONE,), (ONE, TWO))
