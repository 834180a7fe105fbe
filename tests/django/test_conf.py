"""The setting reaches the core, whatever changes it, and hides its password."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from pytest_django import Settings

from domain_event_broker import Publisher, Subscriber
from domain_event_broker import settings as core
from domain_event_broker.django import conf
from domain_event_broker.django.masking import mask
from domain_event_broker.errors import SettingsError

from .conftest import PASSWORD

URL = f"amqp://user:{PASSWORD}@localhost:5672/%2F?heartbeat=7"


def url() -> str | None:
    """The URL that counts now, for the app and the core alike."""
    found = conf.current()
    assert found == core.resolve()
    return None if found is None else found.urls[0]


def test_the_core_follows_the_setting(settings: Settings) -> None:
    settings.DOMAIN_EVENT_BROKER = "memory://one"

    assert url() == "memory://one"
    assert Subscriber().settings == Publisher().settings == conf.current()


def test_override_settings_counts_and_is_undone(settings: Settings) -> None:
    settings.DOMAIN_EVENT_BROKER = "memory://one"

    with override_settings(DOMAIN_EVENT_BROKER="memory://two"):
        assert url() == "memory://two"
        with override_settings(DOMAIN_EVENT_BROKER=None):
            assert url() is None
        assert url() == "memory://two"
    assert url() == "memory://one"


def test_without_the_setting_the_core_has_its_own_default(settings: Settings) -> None:
    del settings.DOMAIN_EVENT_BROKER

    assert url() == core.LOCAL_RABBITMQ
    assert not conf.is_set()


def test_what_is_assigned_to_the_core_counts_until_the_setting_changes(settings: Settings) -> None:
    settings.DOMAIN_EVENT_BROKER = "memory://one"
    core.BROKER = "memory://assigned"

    assert url() == "memory://assigned"

    settings.DOMAIN_EVENT_BROKER = "memory://two"
    assert core.BROKER == "memory://two"


def test_a_dict_that_is_changed_in_place_counts(settings: Settings) -> None:
    settings.DOMAIN_EVENT_BROKER = {"URL": "memory://one"}
    settings.DOMAIN_EVENT_BROKER["URL"] = "memory://two"

    assert url() == "memory://two"


def test_the_service_is_named_after_the_project(settings: Settings) -> None:
    settings.DOMAIN_EVENT_BROKER = "memory://one"
    assert conf.service() == "example_project"

    settings.DOMAIN_EVENT_BROKER = {"URL": "memory://one", "SERVICE": "shop"}
    assert conf.service() == "shop"

    settings.DOMAIN_EVENT_BROKER = {"URL": 1}
    assert conf.service() == "example_project"


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ({"URLL": "memory://one"}, "Did you mean 'URL'?"),
        ({"URL": "memory://one", "PREFETCH": 0}, "PREFETCH must be a whole number"),
        (f"amqp://user:{PASSWORD}#@localhost", "Percent-encode|'#'"),
        (f"amqp://user:{PASSWORD}@localhost?heartbeat=x", "heartbeat"),
        (f"carrier-pigeon://user:{PASSWORD}@loft", "carrier-pigeon"),
        (42, "URL, a dict or None, not int"),
    ],
)
def test_bad_settings_are_told_without_a_password(
    settings: Settings, setting: object, problem: str
) -> None:
    settings.DOMAIN_EVENT_BROKER = setting

    with pytest.raises(ImproperlyConfigured, match=problem) as caught:
        conf.current()

    assert isinstance(caught.value, SettingsError)
    assert str(caught.value).startswith("DOMAIN_EVENT_BROKER: ")
    assert PASSWORD not in str(caught.value)
    # The frames of a cause would show the URL on a debug page.
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_a_broker_may_be_required(settings: Settings) -> None:
    settings.DOMAIN_EVENT_BROKER = None

    with pytest.raises(conf.InvalidSettings, match="DOMAIN_EVENT_BROKER is None"):
        conf.required()


@pytest.mark.parametrize(
    "setting",
    [
        URL,
        {"URL": URL, "SERVICE": "shop"},
        {"URL": [URL, URL]},
        {"URL": (URL,)},
        f"amqp:user:{PASSWORD}@localhost",
        f"amqp://user:{PASSWORD}@[localhost",
        f"user:{PASSWORD}@localhost",
    ],
    ids=repr,
)
def test_the_setting_shows_no_password_and_stays_the_same(settings: Settings, setting: Any) -> None:
    settings.DOMAIN_EVENT_BROKER = setting

    assert PASSWORD not in repr(settings.DOMAIN_EVENT_BROKER)
    assert PASSWORD not in repr(core.BROKER)
    assert setting == settings.DOMAIN_EVENT_BROKER


def test_a_masked_url_is_still_read(settings: Settings) -> None:
    settings.DOMAIN_EVENT_BROKER = URL

    assert url() == URL
    assert "localhost:5672" in repr(settings.DOMAIN_EVENT_BROKER)


def test_a_masked_url_survives_copies() -> None:
    masked = mask(URL)

    for copied in (copy.copy(masked), copy.deepcopy(masked), pickle.loads(pickle.dumps(masked))):
        assert copied == URL
        assert PASSWORD not in repr(copied)
    assert mask(masked) is masked


@pytest.mark.parametrize("setting", ["memory://one", None, 5, {"SERVICE": "shop"}, ["a", ("b",)]])
def test_what_holds_no_secret_is_left_alone(setting: object) -> None:
    assert mask(setting) is setting
