"""The project's own functions: what they clean before it is shown, and what their failures cost."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest

from domain_event_broker import DomainEvent, Subscriber, publish_domain_event
from domain_event_broker.errors import SettingsError
from domain_event_broker.handling import Report
from domain_event_broker.redacting import check_functions, redacted, scrubbed
from domain_event_broker.settings import Settings, parse, resolve

from .helpers import Recorder, dead_letters, drain, raising, subscriber

KEYS = ["SCRUB_ERROR", "REDACT_PAYLOAD"]
HERE = __name__


def hide_numbers(text: str) -> str:
    return re.sub(r"\d{4}-\d{4}", "(card)", text)


def without_card(routing_key: str, data: Any) -> Any:
    data["card"] = f"(hidden in {routing_key})"
    return data


def failing(*arguments: Any) -> Any:
    raise KeyError("1234-5678")


def exiting(text: str) -> str:
    raise SystemExit("1234-5678")


def silent(text: str) -> None:
    """Forgets to return what it cleaned."""


NOT_CALLABLE = "text"


class Cleaner:
    """A function that belongs to an object, which cannot be copied."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def clean(self, text: str) -> str:
        with self.lock:
            return hide_numbers(text)

    def __repr__(self) -> str:
        raise AssertionError("nobody asks for this repr")


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self, text: str) -> str:
        return text


def made(**hooks: Any) -> Settings:
    settings = parse({"URL": "memory://x", **hooks})
    assert settings is not None
    return settings


def fail_on_card(event: DomainEvent) -> None:
    raise ValueError(f"declined: {event.data['card']}")


def run(url: str, scrub: object, handler: Any = fail_on_card) -> Report:
    """One event that fails, with the log it leaves."""
    reports: list[Report] = []
    connection: Any = {"URL": url, "SCRUB_ERROR": scrub}
    subscribed = subscriber(connection, handler, on_report=reports.append)
    publish_domain_event("a.b", {"card": "1234-5678"}, connection_settings=connection)
    drain(subscribed)
    (report,) = reports
    return report


class TestErrors:
    @pytest.mark.parametrize(
        "scrub", [hide_numbers, f"{HERE}.hide_numbers", Cleaner().clean], ids=["", "path", "method"]
    )
    def test_message_and_traceback_are_scrubbed_wherever_they_go(
        self, url: str, scrub: object, caplog: pytest.LogCaptureFixture
    ) -> None:
        report = run(url, scrub)

        assert report.error_message == "declined: (card)"
        (message,) = dead_letters(url)
        assert message.headers["deb-error-message"] == "declined: (card)"
        assert message.headers["deb-error-traceback"].endswith("ValueError: declined: (card)\n")
        (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert record.exc_info is None
        assert "Traceback (most recent call last):" in record.getMessage()
        assert record.getMessage().endswith("ValueError: declined: (card)\n")
        assert "1234-5678" not in caplog.text + repr(message.headers)

    def test_causes_are_scrubbed_too(self, url: str, caplog: pytest.LogCaptureFixture) -> None:
        def fail(event: DomainEvent) -> None:
            try:
                fail_on_card(event)
            except ValueError as error:
                raise RuntimeError("no luck") from error

        run(url, hide_numbers, fail)

        assert "declined: (card)" in caplog.text
        assert "1234-5678" not in caplog.text

    def test_the_text_is_scrubbed_before_it_is_cut(self, url: str) -> None:
        report = run(url, hide_numbers, raising(ValueError("x" * 995 + "1234-5678")))

        assert report.error_message == "x" * 995 + "(card"

    @pytest.mark.parametrize(
        ("scrub", "kind"),
        [(failing, "KeyError"), (exiting, "SystemExit"), (silent, "TypeError")],
    )
    def test_where_it_fails_its_kind_of_error_is_all_that_is_shown(
        self, url: str, scrub: Callable[[str], str], kind: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        run(url, scrub)

        (message,) = dead_letters(url)
        assert message.headers["deb-error-message"] == f"(SCRUB_ERROR failed: {kind})"
        assert message.headers["deb-error-traceback"] == f"(SCRUB_ERROR failed: {kind})"
        assert message.headers["deb-error-type"] == "ValueError"
        assert message.headers["deb-error-place"].endswith(" in fail_on_card")
        assert caplog.text.endswith(f"(SCRUB_ERROR failed: {kind})\n")
        assert "1234-5678" not in caplog.text

    def test_without_it_the_text_is_as_it_is(self) -> None:
        assert scrubbed(made(), "1234-5678") == "1234-5678"

    def test_a_wrong_path_is_told_before_anything_can_fail(self, url: str) -> None:
        subscribed = Subscriber({"URL": url, "SCRUB_ERROR": f"{HERE}.missing"})

        with pytest.raises(SettingsError, match=f"SCRUB_ERROR names '{HERE}.missing'"):
            subscribed.register(Recorder(), "handler", ["#"])

    def test_a_path_that_went_wrong_meanwhile_ends_nothing(self) -> None:
        settings = made(SCRUB_ERROR=f"{HERE}.missing")

        assert scrubbed(settings, "1234-5678") == "(SCRUB_ERROR failed: SettingsError)"


class TestPayloads:
    @pytest.mark.parametrize("redact", [without_card, f"{HERE}.without_card"], ids=["", "path"])
    def test_what_is_shown_is_what_the_function_leaves(self, redact: object) -> None:
        data = {"card": "1234-5678"}

        shown = redacted(made(REDACT_PAYLOAD=redact), "order.paid", data)

        assert shown == {"card": "(hidden in order.paid)"}
        assert data == {"card": "1234-5678"}

    @pytest.mark.parametrize("settings", [None, made()], ids=["no broker", "no function"])
    def test_without_one_all_is_shown(self, settings: Settings | None) -> None:
        data = {"card": "1234-5678"}

        assert redacted(settings, "order.paid", data) is data

    def test_where_it_fails_its_kind_of_error_is_all_that_is_shown(self) -> None:
        settings = made(REDACT_PAYLOAD=failing)

        assert redacted(settings, "order.paid", {}) == "(REDACT_PAYLOAD failed: KeyError)"

    def test_data_that_cannot_be_copied_is_not_shown(self) -> None:
        nested: list[Any] = []
        for _ in range(100_000):
            nested = [nested]

        shown = redacted(made(REDACT_PAYLOAD=without_card), "order.paid", nested)

        assert shown == "(REDACT_PAYLOAD failed: RecursionError)"

    def test_a_wrong_path_is_an_error_of_the_settings(self) -> None:
        with pytest.raises(SettingsError, match="REDACT_PAYLOAD names"):
            redacted(made(REDACT_PAYLOAD="no.such.module"), "order.paid", {})


class TestSettings:
    @pytest.mark.parametrize("key", KEYS)
    @pytest.mark.parametrize("wrong", [5, "", "clean", "shop.", "a clean.x", b"a.b", ["a.b"]])
    def test_a_function_or_the_path_of_one(self, key: str, wrong: object) -> None:
        with pytest.raises(SettingsError, match=f"{key} must be a function or its dotted path"):
            made(**{key: wrong})

    @pytest.mark.parametrize("key", KEYS)
    def test_it_can_be_hashed_as_the_settings_are(self, key: str) -> None:
        with pytest.raises(SettingsError, match=f"{key} has no hash"):
            made(**{key: Unhashable()})
        assert hash(made(**{key: hide_numbers})) == hash(made(**{key: hide_numbers}))
        assert made(**{key: hide_numbers}) != made(**{key: silent})

    @pytest.mark.parametrize("key", KEYS)
    def test_its_object_is_neither_shown_nor_copied(
        self, key: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broker = {"URL": "memory://x", key: Cleaner().clean}
        monkeypatch.setattr("domain_event_broker.settings.BROKER", broker)

        assert resolve() is resolve()
        assert key.lower() not in repr(resolve())

    @pytest.mark.parametrize("key", KEYS)
    @pytest.mark.parametrize(
        ("path", "words"),
        [
            ("no_such_module.clean", "No module named 'no_such_module'"),
            (f"{HERE}.missing", "has no attribute 'missing'"),
            (f"{HERE}.NOT_CALLABLE", "which is no function"),
        ],
    )
    def test_a_path_is_imported_when_it_is_needed(self, key: str, path: str, words: str) -> None:
        settings = made(**{key: path})

        with pytest.raises(SettingsError) as caught:
            check_functions(settings)
        assert str(caught.value).startswith(f"{key} names {path!r}, which ")
        assert words in str(caught.value)

    def test_a_module_that_fails_is_told_without_its_words(
        self, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "broken_privacy.py").write_text("raise ValueError('open-sesame')")
        monkeypatch.syspath_prepend(tmp_path)

        with pytest.raises(SettingsError) as caught:
            check_functions(made(SCRUB_ERROR="broken_privacy.clean"))
        assert str(caught.value) == (
            "SCRUB_ERROR names 'broken_privacy.clean', whose import fails: ValueError."
        )
