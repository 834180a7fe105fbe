"""One delivery after another through its handler: what becomes of it."""

import json
import logging
import sys
from collections.abc import Callable
from typing import Any

import pytest

from domain_event_broker import DomainEvent, Retry, publish_domain_event
from domain_event_broker.handling import Ending, Reason, Report, event_id
from domain_event_broker.messages import Message

from .helpers import (
    Recorder,
    dead_letters,
    drain,
    publish_raw,
    raising,
    subscriber,
)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Fatal(Exception):
    def __str__(self) -> str:
        sys.exit("not even this")


def publish(url: str, data: Any = None, routing_key: str = "user.registered") -> DomainEvent:
    return publish_domain_event(routing_key, data, connection_settings=url)


def test_a_handled_event_is_gone(url: str) -> None:
    handler = Recorder()
    reports: list[Report] = []
    subscribed = subscriber(url, handler, on_report=reports.append)
    event = publish(url, {"user_id": 1})
    drain(subscribed)
    drain(subscribed)

    assert handler.events == [event]
    assert reports == [Report("handler", event.uuid_string, "user.registered", Ending.HANDLED)]
    assert dead_letters(url) == []


@pytest.mark.parametrize(
    ("error", "error_type", "error_message"),
    [
        (ValueError("no such user"), "ValueError", "no such user"),
        (KeyError(1), "KeyError", "1"),
        (SystemExit(3), "SystemExit", "3"),
        (KeyboardInterrupt(), "KeyboardInterrupt", ""),
        (GeneratorExit(), "GeneratorExit", ""),
        (MemoryError(), "MemoryError", ""),
        (
            Unspeakable(),
            f"{__name__}.Unspeakable",
            "(its message cannot be shown: RuntimeError)",
        ),
        (Fatal(), f"{__name__}.Fatal", "(its message cannot be shown: SystemExit)"),
        (ValueError("\ud800 lone"), "ValueError", "\\ud800 lone"),
        (ValueError("x" * 5_000), "ValueError", "x" * 1_000),
        (type("N" * 300, (Exception,), {"__module__": "m"})(), "m." + "N" * 198, ""),
        (type("N", (Exception,), {"__module__": "\ud800"})(), "\\ud800.N", ""),
    ],
    ids=lambda value: type(value).__name__[:20] if isinstance(value, BaseException) else "",
)
def test_whatever_a_handler_raises_becomes_the_story_of_a_dead_letter(
    url: str, error: BaseException, error_type: str, error_message: str
) -> None:
    reports: list[Report] = []
    subscribed = subscriber(url, Recorder(raising(error)), on_report=reports.append)
    event = publish(url)
    drain(subscribed)

    (message,) = dead_letters(url)
    assert message.message_id == event.uuid_string
    assert message.headers["deb-reason"] == "error"
    assert message.headers["deb-error-type"] == error_type
    assert message.headers["deb-error-message"] == error_message
    assert message.headers["deb-handler"] == "handler"
    assert message.headers["deb-routing-key"] == "user.registered"
    assert message.headers["deb-failed-at-ms"] > 1_700_000_000_000
    (report,) = reports
    assert report.ending is Ending.DEAD_LETTERED
    assert report.reason is Reason.ERROR
    assert report.error is error


def test_a_failure_costs_its_own_event_alone(url: str) -> None:
    def fail_on_two(event: DomainEvent) -> None:
        if event.data == 2:
            raise SystemExit

    handler = Recorder(fail_on_two)
    subscribed = subscriber(url, handler)
    for number in range(1, 5):
        publish(url, number)
    drain(subscribed)

    assert handler.data == [1, 2, 3, 4]
    assert len(dead_letters(url)) == 1


def test_a_failure_is_logged_with_id_key_reason_and_traceback(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    subscribed = subscriber(url, Recorder(raising(ValueError("why"))))
    event = publish(url, {"password": "payload"})
    drain(subscribed)

    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage() == (
        f"handler: event {event.uuid_string} ('user.registered') was dead-lettered: error"
    )
    assert record.exc_info is not None
    assert "ValueError: why" in caplog.text
    assert "payload" not in caplog.text


def test_without_dead_letters_a_failed_event_is_logged_and_gone(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    reports: list[Report] = []
    handler = Recorder(raising(ValueError("why")))
    subscribed = subscriber(url, handler, dead_letter=False, on_report=reports.append)
    event = publish(url)
    drain(subscribed)
    drain(subscribed)

    assert len(handler.events) == 1
    assert [report.ending for report in reports] == [Ending.DISCARDED]
    assert f"event {event.uuid_string} ('user.registered') was discarded: error" in caplog.text


BAD_BODIES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not JSON"),
    "no UTF-8": (b'{"data": "\xff"}', "not UTF-8"),
    "no JSON": (b"hello", "not JSON"),
    "NaN": (b'{"data": NaN}', "NaN"),
    "5,000 digits": (b'{"data": ' + b"9" * 5_000 + b"}", "too many digits"),
    "100,000 levels": (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
    "lone surrogate": (b'{"data": "\\ud800"}', "lone surrogate"),
    "key twice": (b'{"data": 1, "data": 2}', "same key twice"),
    "no object": (b"[]", "not an object"),
    "wrong type": (b'{"uuid_string": 1}', "'uuid_string' is a JSON number"),
    "long id": (b'{"uuid_string": "%s"}' % (b"x" * 256), "more than 255 bytes"),
}


@pytest.mark.parametrize("case", BAD_BODIES)
def test_what_is_no_event_is_dead_lettered_verbatim_with_its_reason(url: str, case: str) -> None:
    body, reason = BAD_BODIES[case]
    handler = Recorder()
    reports: list[Report] = []
    subscribed = subscriber(url, handler, on_report=reports.append)
    publish_raw(url, Message("user.registered", body, headers={"foreign": 1}))
    publish(url, "neighbour")
    drain(subscribed)

    (message,) = dead_letters(url)
    assert message.body == body
    assert message.headers["deb-reason"] == "unreadable"
    assert message.headers["deb-error-type"] == "domain_event_broker.errors.UnreadableEvent"
    assert reason in message.headers["deb-error-message"]
    assert message.headers["foreign"] == 1
    assert handler.data == ["neighbour"]
    assert reports[0].reason is Reason.UNREADABLE
    assert reports[0].event_id is None


@pytest.mark.parametrize(
    "behaviour",
    [raising(ValueError()), raising(Retry(0))],
    ids=["dead-lettered", "retried"],
)
def test_the_brokers_own_headers_are_dropped_when_a_message_moves(
    url: str, behaviour: Callable[[DomainEvent], None]
) -> None:
    # A name that is no UTF-8 arrives as bytes.
    foreign: dict[Any, Any] = {"tenant": "x", "nested": {"x-kept": 1}, "cc": "y", b"\xff": "z"}
    brokers: dict[Any, Any] = {"x-death": [1, 2], "X-Other": "y", "CC": ["a"], "BCC": ["b"]}
    brokers[b"x-\xff"] = "z"
    subscribed = subscriber(url, Recorder(behaviour), max_retries=1)
    publish_raw(url, Message("a.b", b"{}", app_id="theirs", headers={**foreign, **brokers}))
    drain(subscribed)
    drain(subscribed)

    (message,) = dead_letters(url)
    kept = {key: value for key, value in message.headers.items() if key in foreign | brokers}
    assert kept == foreign
    assert message.app_id == "theirs"


def test_an_id_with_line_breaks_forges_no_log_line() -> None:
    forged = "1\nERROR shop: all is lost"
    for message in (
        Message("user.registered", b"{}", message_id=forged),
        Message("user.registered", json.dumps({"uuid_string": forged}).encode()),
    ):
        assert event_id(message) == repr(forged)
