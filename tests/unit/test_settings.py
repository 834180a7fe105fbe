"""The settings object: every key, its limits, and a clear word for each mistake."""

import dataclasses
import math
from decimal import Decimal
from typing import Any

import pytest

import domain_event_broker.settings as settings_module
from domain_event_broker.errors import ConfigurationError, SettingsError
from domain_event_broker.settings import KEYS, Settings, parse, resolve
from domain_event_broker.tls import DEFAULT_TLS

DEFAULTS = {
    "URL": "amqp://guest:guest@localhost:5672/%2F",
    "TLS": DEFAULT_TLS,
    "SERVICE": None,
    "EXCHANGE": "domain-events",
    "EXCHANGE_TYPE": "topic",
    "QUEUE_TYPE": "quorum",
    "TOPOLOGY": "current",
    "PUBLISH_TIMEOUT": 5.0,
    "HEARTBEAT": 20,
    "RECONNECT_DELAY": 1.0,
    "MAX_RECONNECT_DELAY": 30.0,
    "PREFETCH": 100,
    "CRASH_ATTEMPTS": 5,
    "MAX_EVENT_BYTES": 1024 * 1024,
    "UNROUTABLE": "log",
    "OUTBOX": True,
    "LEASE": 15.0,
    "VERSION": None,
    "SCRUB_ERROR": None,
    "REDACT_PAYLOAD": None,
    "DEAD_LETTER_RETENTION_DAYS": None,
    "DEAD_LETTER_RETENTION_COUNT": None,
}
HUGE = 10**5_000
NUMBERS_OF_SECONDS = ["PUBLISH_TIMEOUT", "RECONNECT_DELAY", "MAX_RECONNECT_DELAY"]
WHOLE_NUMBERS = {
    "HEARTBEAT": (1, 65_535),
    "PREFETCH": (1, 65_535),
    "CRASH_ATTEMPTS": (1, 500),
    "MAX_EVENT_BYTES": (1, 128 * 1024 * 1024),
}
CHOICES = {
    "EXCHANGE_TYPE": ["topic", "direct", "fanout", "headers"],
    "QUEUE_TYPE": ["quorum", "classic"],
    "TOPOLOGY": ["current", "3.x"],
    "UNROUTABLE": ["ignore", "log", "raise"],
}


def value_of(key: str, settings: Settings | None) -> Any:
    return getattr(settings, KEYS[key])


def refusal(mapping: object) -> str:
    with pytest.raises(SettingsError) as caught:
        parse(mapping)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, ConfigurationError)
    return str(caught.value)


def test_every_key_has_its_default() -> None:
    settings = parse({})

    assert {key: value_of(key, settings) for key in KEYS} == DEFAULTS


def test_settings_cannot_be_changed_and_can_be_compared() -> None:
    settings = parse({"PREFETCH": 7})

    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.prefetch = 8  # type: ignore[union-attr, misc]
    assert settings == parse({"PREFETCH": 7})
    assert hash(settings) == hash(parse({"PREFETCH": 7}))
    assert settings != parse({"PREFETCH": 8})


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("PREFECTH", "Did you mean 'PREFETCH'?"),
        ("url", "Did you mean 'URL'?"),
        ("PUBLISH_TIMEOUT_SECONDS", "Did you mean 'PUBLISH_TIMEOUT'?"),
        ("HEARTBEET", "Did you mean 'HEARTBEAT'?"),
        ("ZZZZ", "Unknown key 'ZZZZ'. Known keys: CRASH_ATTEMPTS, DEAD_LETTER_"),
        (5, "Unknown key 5."),
        (None, "Unknown key None."),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_one(key: Any, hint: str) -> None:
    assert hint in refusal({"URL": "memory://x", key: 1})


def test_a_refused_key_never_shows_the_other_values() -> None:
    assert "secret" not in refusal({"URL": "amqp://u:secret@host/", "NO": "secret"})


@pytest.mark.parametrize("key", CHOICES)
def test_a_choice_is_one_of_those_listed(key: str) -> None:
    for choice in CHOICES[key]:
        assert value_of(key, parse({key: choice})) == choice
    wrong_choices: list[Any] = ["other", "", CHOICES[key][0].upper(), None, 1, []]
    for wrong in wrong_choices:
        message = refusal({key: wrong})
        assert message.startswith(f"{key} must be one of {', '.join(CHOICES[key])}, not ")


@pytest.mark.parametrize("key", NUMBERS_OF_SECONDS)
def test_a_time_is_a_number_of_seconds(key: str) -> None:
    fitting: dict[str, Any] = {"RECONNECT_DELAY": 0.001}
    for number in (0.5, 1, 2_592_000):
        assert value_of(key, parse({**fitting, "MAX_RECONNECT_DELAY": 2_592_000, key: number}))
    wrong_numbers: tuple[Any, ...] = (0, -1, float("nan"), float("inf"), 2_592_001, 10**400, HUGE)
    for wrong in (*wrong_numbers, True, "5", None, Decimal(5)):
        assert refusal({**fitting, key: wrong}).startswith(f"{key} must be a number of seconds")


def test_a_lease_is_neither_too_short_nor_too_long() -> None:
    for number in (0.5, 1, 15):
        assert value_of("LEASE", parse({"LEASE": number})) == number
    for wrong in (0, 0.49, 15.1, -1, float("nan"), float("inf"), HUGE, True, "5", None, Decimal(5)):
        message = refusal({"LEASE": wrong})
        assert message.startswith("LEASE must be a number of seconds from 0.5 to 15, not ")


def test_the_outbox_is_on_or_off() -> None:
    for choice in (True, False):
        assert value_of("OUTBOX", parse({"OUTBOX": choice})) is choice
    for wrong in (1, 0, "", "False", None):
        assert refusal({"OUTBOX": wrong}).startswith("OUTBOX must be True or False, not ")


@pytest.mark.parametrize("key", WHOLE_NUMBERS)
def test_a_count_is_a_whole_number_within_its_limits(key: str) -> None:
    least, most = WHOLE_NUMBERS[key]
    for number in (least, most):
        assert value_of(key, parse({key: number})) == number
    for wrong in (least - 1, most + 1, -1, HUGE, -HUGE, 1.5, 1.0, True, "5", None):
        message = refusal({key: wrong})
        assert message.startswith(f"{key} must be a whole number from {least} to {most}, not ")


def test_the_longest_wait_is_not_below_the_first() -> None:
    assert "MAX_RECONNECT_DELAY must not be less" in refusal(
        {"RECONNECT_DELAY": 2, "MAX_RECONNECT_DELAY": 1}
    )


@pytest.mark.parametrize("key", ["SERVICE", "EXCHANGE", "VERSION"])
@pytest.mark.parametrize("wrong", ["", 5, b"x", "\ud800", ["x"]])
def test_a_name_is_a_string(key: str, wrong: Any) -> None:
    assert refusal({key: wrong}).startswith(f"{key} must be a non-empty string, not ")


def test_a_service_is_sent_as_a_property_and_must_fit_it() -> None:
    assert value_of("SERVICE", parse({"SERVICE": "s" * 255})) == "s" * 255
    assert "SERVICE has 256 bytes" in refusal({"SERVICE": "é" * 128})


def test_a_version_fits_a_short_string() -> None:
    assert value_of("VERSION", parse({"VERSION": "v" * 255})) == "v" * 255
    assert "VERSION has 256 bytes" in refusal({"VERSION": "é" * 128})


def test_dead_letters_are_kept_for_so_many_days_or_for_ever() -> None:
    for days in (0.5, 1, 36_500, None):
        assert (
            value_of("DEAD_LETTER_RETENTION_DAYS", parse({"DEAD_LETTER_RETENTION_DAYS": days}))
            == days
        )
    for wrong in (0, -1, 36_501, True, "30", math.nan):
        message = refusal({"DEAD_LETTER_RETENTION_DAYS": wrong})
        assert message.startswith("DEAD_LETTER_RETENTION_DAYS must be a number above 0 and up to ")


def test_so_many_dead_letters_are_kept_or_all() -> None:
    for count in (1, 2**31 - 1, None):
        assert (
            value_of("DEAD_LETTER_RETENTION_COUNT", parse({"DEAD_LETTER_RETENTION_COUNT": count}))
            == count
        )
    for wrong in (0, -1, 2**31, 1.5, True, "5"):
        message = refusal({"DEAD_LETTER_RETENTION_COUNT": wrong})
        assert message.startswith("DEAD_LETTER_RETENTION_COUNT must be a whole number from 1 to ")


def test_an_exchange_leaves_room_for_the_names_made_of_it() -> None:
    longest = max(len(name) for name in ("-delay.v1.1677721600ms", "-requeue", "-orphans"))

    assert parse({"EXCHANGE": "e" * (255 - longest)})
    assert "EXCHANGE is 1 bytes too long" in refusal({"EXCHANGE": "e" * (256 - longest)})


def test_an_exchange_of_the_broker_itself_is_refused() -> None:
    assert "must not begin with 'amq.'" in refusal({"EXCHANGE": "amq.topic"})


@pytest.mark.parametrize("setting", [5, b"amqp://host/", ["amqp://host/"], object()])
def test_a_broker_is_a_url_a_dict_or_none(setting: object) -> None:
    assert refusal(setting).startswith("The broker must be given as a URL, a dict or None, not ")


def test_none_is_no_broker() -> None:
    assert parse(None) is None
    assert parse({"URL": None}) is None
    assert parse({"URL": None, "PREFETCH": 5}) is None


def test_settings_that_are_ready_are_taken_as_they_are() -> None:
    settings = Settings(url="memory://x")

    assert parse(settings) is settings
    assert resolve(settings) == settings


def test_an_empty_string_is_the_default_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in ("memory://one", {"URL": "memory://two", "PREFETCH": 3}, None):
        monkeypatch.setattr(settings_module, "BROKER", setting)
        assert resolve("") == resolve() == parse(setting)


def test_a_default_that_is_changed_in_place_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = {"URL": "memory://one", "PREFETCH": 3}
    monkeypatch.setattr(settings_module, "BROKER", broker)
    before = resolve()
    broker["PREFETCH"] = 4

    assert value_of("PREFETCH", before) == 3
    assert value_of("PREFETCH", resolve()) == 4


def test_the_service_of_the_process_is_used_where_none_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert value_of("SERVICE", resolve("memory://x")) is None
    monkeypatch.setattr(settings_module, "SERVICE", "shop")

    assert value_of("SERVICE", resolve("memory://x")) == "shop"
    assert value_of("SERVICE", resolve({"URL": "memory://x"})) == "shop"
    assert value_of("SERVICE", resolve({"SERVICE": "mine"})) == "mine"


def test_another_exchange_leaves_the_rest_as_it_is() -> None:
    settings = Settings(url="memory://x", prefetch=3)
    other = settings.with_exchange("mine", "fanout")

    assert other == Settings(url="memory://x", prefetch=3, exchange="mine", exchange_type="fanout")
