"""Broker URLs: which are read, and that no password is ever shown."""

import traceback

import pytest

import domain_event_broker.settings as settings_module
from domain_event_broker import publish_domain_event
from domain_event_broker.errors import SettingsError
from domain_event_broker.settings import Settings, parse, resolve, safe_url
from domain_event_broker.transports import check_scheme

# Every part of it is looked for, so that half a password counts as well.
SECRET = "s3cr3t"

GOOD_URLS = [
    ("amqp://localhost", "amqp://localhost"),
    ("amqp://guest:s3cr3t@localhost:5672/%2F", "amqp://localhost:5672/%2F"),
    ("amqps://us%40er:s3cr3t%2F%3F%23@host/vhost?heartbeat=1", "amqps://host/vhost"),
    ("AMQP://u:s3cr3t@host/", "amqp://host/"),
    ("amqp://u:s3cr3t@@host/", "amqp://host/"),
    ("amqp://u:s3cr3t:x@host/", "amqp://host/"),
    ("amqp://u@[::1]:5672/", "amqp://[::1]:5672/"),
    ("memory://", "memory://"),
    ("memory://name", "memory://name"),
]
BAD_URLS = [
    ("", "non-empty string"),
    (" amqp://u:s3cr3t@host/", "white space"),
    ("amqp://u:s3cr3t@host/\n", "white space"),
    ("amqp://u:s3\x00cr3t@host/", "control characters"),
    ("amqp://u:s3cr3t\ud800@host/", "control characters"),
    ("amqp://u:s3cr3t/x@host/", "cannot be read"),
    ("amqp://u:s3cr3t@host:port/", "cannot be read"),
    ("amqp://u:s3cr3t@host:99999/", "cannot be read"),
    ("amqp://u:s3cr3t@[::1/", "cannot be read"),
    ("amqp://u:[s3cr3t@host/", "cannot be read"),
    ("amqp://u:s3cr3t@host/?heartbeat", "cannot be read"),
    ("amqp://u:5/s3cr3t@host/", "behind its host"),
    ("amqp://u:5?s3cr3t=1@host/", "behind its host"),
    ("amqp://u:/s3cr3t@host/", "behind its host"),
    ("amqp://u:5#s3cr3t@host/", "holds a '#'"),
    ("amqp://u:5#s3cr3t@host/#", "holds a '#'"),
    ("u:s3cr3t@host/", "no scheme"),
    ("s3cr3t@host/", "no scheme"),
    ("amqp:u:s3cr3t@host/", "no scheme"),
    ("amqp:/u:s3cr3t@host/", "no scheme"),
    ("://u:s3cr3t@host/", "no scheme"),
    ("//u:s3cr3t@host/", "no scheme"),
]


def everything_shown_of(error: BaseException) -> str:
    """What a log may print of an error: itself and its traceback, which chains no other."""
    assert error.__cause__ is None
    assert error.__context__ is None
    return "\n".join([str(error), repr(error), *traceback.format_exception(error)])


@pytest.mark.parametrize(("url", "shown"), GOOD_URLS)
def test_a_url_is_kept_whole_and_shown_without_its_secrets(url: str, shown: str) -> None:
    settings = parse(url)

    assert settings is not None
    assert settings.url == url
    assert settings.safe_url == shown
    assert SECRET not in repr(settings) + str(settings) + settings.safe_url
    assert settings == parse({"URL": url})


@pytest.mark.parametrize(("url", "reason"), BAD_URLS)
def test_a_bad_url_is_refused_without_quoting_it(url: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason) as caught:
        Settings(url=url)

    assert SECRET not in everything_shown_of(caught.value)


@pytest.mark.parametrize("url", [url for url, _ in GOOD_URLS + BAD_URLS])
def test_the_safe_form_of_any_url_holds_no_secret(url: str) -> None:
    assert SECRET not in safe_url(url)


@pytest.mark.parametrize("url", [None, 5, b"amqp://u:s3cr3t@host/", {"amqp://u:s3cr3t@host/"}])
def test_a_url_must_be_a_string(url: object) -> None:
    with pytest.raises(SettingsError, match="URL must be a non-empty string") as caught:
        Settings(url=url)  # type: ignore[arg-type]

    assert SECRET not in everything_shown_of(caught.value)


@pytest.mark.parametrize(
    "setting",
    [
        "amqp://u:s3cr3t/x@host/",
        {"URL": "amqp://u:s3cr3t/x@host/"},
        {"URL": "amqp://u:s3cr3t@host/", "PREFETCH": 0},
        {"URL": "amqp://u:s3cr3t@host/", "PREFECTH": 1},
    ],
)
def test_no_frame_of_a_refused_default_broker_holds_its_password(
    setting: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings_module, "BROKER", setting)
    with pytest.raises(SettingsError) as caught:
        publish_domain_event("user.registered", {})

    # Django's debug page shows the variables of each frame.
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)][1:]
    assert frames
    for frame in frames:
        assert SECRET not in repr(frame.f_locals)
    assert SECRET not in everything_shown_of(caught.value)


def test_the_scheme_is_read_in_lower_case() -> None:
    assert Settings(url="AMQPS://host/").scheme == "amqps"


def test_an_unknown_scheme_is_refused_with_those_known() -> None:
    settings = resolve("kafka://u:s3cr3t@host/")

    assert settings is not None
    with pytest.raises(SettingsError) as caught:
        check_scheme(settings)
    assert str(caught.value) == (
        "URL has the scheme 'kafka'; known are amqp, amqps, database, memory."
    )
    check_scheme(Settings(url="AMQPS://host/"))
