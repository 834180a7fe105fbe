"""A dead letter's story: what is told of a failure, how it is bounded, and what gives way."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from types import FunctionType
from typing import Any
from uuid import UUID

import pytest

from domain_event_broker import DomainEvent, Retry, publish_domain_event
from domain_event_broker.handling import Reason, Registration
from domain_event_broker.messages import Message
from domain_event_broker.settings import Settings
from domain_event_broker.stories import (
    MAX_HEADERS_BYTES,
    MAX_PLACE_CHARACTERS,
    MAX_TRACEBACK_BYTES,
    MAX_TRACEBACK_CHARACTERS,
    Failure,
    with_story,
)
from domain_event_broker.transports import transport_for
from domain_event_broker.transports.base import Delivery, Subscription

from .helpers import dead_letters, drain, publish_raw, raising, subscriber


def fail(event: DomainEvent) -> None:
    secret = event.data["card"]
    raise ValueError(f"no such order ({len(secret)})")


def story_of_failing(
    url: str, handler: Callable[[DomainEvent], Any] = fail, **settings: Any
) -> dict[str, Any]:
    """The headers of the dead letter of an event that `handler` fails on."""
    connection: Any = {"URL": url, **settings}
    drained = subscriber(connection, handler)
    publish_domain_event("order.placed", {"card": "1234-5678"}, connection_settings=connection)
    drain(drained)
    (message,) = dead_letters(url)
    return dict(message.headers)


def test_the_story_says_why_where_how_often_when_and_in_which_process(url: str) -> None:
    story = story_of_failing(url, VERSION="2026.11.3")

    assert str(UUID(story["deb-dead-letter-id"])) == story["deb-dead-letter-id"]
    assert story["deb-reason"] == "error"
    assert story["deb-error-type"] == "ValueError"
    assert story["deb-error-message"] == "no such order (9)"
    line = fail.__code__.co_firstlineno + 2
    assert story["deb-error-place"] == f"unit/test_stories.py:{line} in fail"
    assert story["deb-handler"] == "handler"
    assert story["deb-attempts"] == 1
    assert 0 < story["deb-first-failed-at-ms"] == story["deb-failed-at-ms"]
    assert story["deb-host"] == socket.gethostname()
    assert story["deb-process-id"] == os.getpid()
    assert story["deb-app-version"] == "2026.11.3"


def test_the_traceback_shows_lines_and_no_variables(url: str) -> None:
    story = story_of_failing(url)

    trace = story["deb-error-traceback"]
    assert trace.startswith("Traceback (most recent call last):\n")
    assert 'raise ValueError(f"no such order ({len(secret)})")' in trace
    assert trace.endswith("ValueError: no such order (9)\n")
    assert "1234-5678" not in trace


def test_without_a_version_none_is_told(url: str) -> None:
    assert "deb-app-version" not in story_of_failing(url)


def test_each_dead_letter_has_an_id_of_its_own(url: str) -> None:
    failing = subscriber(url, raising(ValueError()))
    event = publish_domain_event("a.b", {}, connection_settings=url)
    publish_domain_event("a.b", {}, uuid_string=event.uuid_string, connection_settings=url)
    drain(failing)

    assert len({message.headers["deb-dead-letter-id"] for message in dead_letters(url)}) == 2


def test_a_retry_is_told_with_what_it_arose_from(url: str) -> None:
    def retry(event: DomainEvent) -> None:
        try:
            fail(event)
        except ValueError as error:
            raise Retry(0) from error

    story = story_of_failing(url, retry)

    assert story["deb-error-place"].endswith(" in fail")
    trace = story["deb-error-traceback"]
    assert trace.index("no such order") < trace.index("direct cause") < trace.index("retry in 0 s")


def test_what_is_no_event_was_never_attempted(url: str) -> None:
    reading = subscriber(url, fail)
    publish_raw(url, Message("a.b", b"no JSON", headers={"deb-retries": 2}))
    drain(reading)

    (message,) = dead_letters(url)
    assert message.headers["deb-reason"] == "unreadable"
    assert message.headers["deb-attempts"] == 0


@pytest.mark.parametrize(("retries", "attempts"), [(0, 5), (2, 7)])
def test_an_event_that_crashed_was_attempted_each_time(
    url: str, retries: int, attempts: int
) -> None:
    consumer = transport_for(Settings(url=url)).consumer()
    subscription = Subscription("handler", ("#",))
    consumer.subscribe(subscription)
    consumer.start()
    publish_raw(url, Message("a.b", b"{}", headers={"deb-retries": retries}))
    delivery = consumer.receive(0)
    assert isinstance(delivery, Delivery)
    delivery.crashes = 5
    report = Registration(fail, subscription, Settings(url=url)).process(delivery, consumer)
    consumer.close()

    assert report.reason is Reason.CRASHED
    (message,) = dead_letters(url)
    assert message.headers["deb-attempts"] == attempts
    # Nobody saw where.
    assert "deb-error-place" not in message.headers
    assert "deb-error-traceback" not in message.headers


@pytest.mark.parametrize("earlier", [0, -1, "then", 2**63 - 1, None, 1.5])
def test_a_first_failure_that_cannot_be_is_not_believed(url: str, earlier: Any) -> None:
    failing = subscriber(url, raising(ValueError()))
    publish_raw(url, Message("a.b", b"{}", headers={"deb-first-failed-at-ms": earlier}))
    drain(failing)

    (message,) = dead_letters(url)
    assert message.headers["deb-first-failed-at-ms"] == message.headers["deb-failed-at-ms"]


def test_what_another_wrote_is_no_part_of_the_story(url: str) -> None:
    failing = subscriber(url, raising(ValueError("ours")))
    forged = {"deb-app-version": "theirs", "deb-error-message": "theirs", "tenant": "x"}
    publish_raw(url, Message("a.b", b"{}", headers=forged))
    drain(failing)

    (message,) = dead_letters(url)
    assert message.headers["deb-error-message"] == "ours"
    assert "deb-app-version" not in message.headers
    assert message.headers["tenant"] == "x"


def caught(raise_it: Callable[[], Any]) -> Failure:
    try:
        raise_it()
    except BaseException as error:
        return Failure(error, Settings(url="memory://x"))
    raise AssertionError("nothing was raised")


def raise_as(name: str, file: str) -> FunctionType:
    """A function that fails in its second line."""
    namespace: dict[str, Any] = {}
    exec(compile(f"def {name}():\n    raise ValueError", file, "exec"), namespace)
    made: FunctionType = namespace[name]
    return made


@pytest.mark.parametrize(
    ("file", "shown"),
    [
        ("/srv/releases/42/shop/orders/handlers.py", "orders/handlers.py"),
        ("C:\\srv\\shop\\orders\\handlers.py", "orders/handlers.py"),
        ("/handlers.py", "/handlers.py"),
        ("handlers.py", "handlers.py"),
        ("<string>", "<string>"),
        ("/srv/\ud800/a\0b.py", "\\ud800/a\\x00b.py"),
    ],
)
def test_a_place_is_the_same_on_every_machine(file: str, shown: str) -> None:
    made = raise_as("handle", "x")
    # No file may have such a name, but a code object may.
    made.__code__ = made.__code__.replace(co_filename=file)

    assert caught(made).place == f"{shown}:2 in handle"


def test_a_place_is_where_the_innermost_call_failed() -> None:
    assert re.fullmatch(r"\S+/uuid\.py:\d+ in UUID\.__init__", caught(lambda: UUID("x")).place)


def test_a_place_is_bounded() -> None:
    place = caught(raise_as("h" * 1_000, "/srv/shop/handlers.py")).place

    assert len(place) == MAX_PLACE_CHARACTERS
    assert place.startswith("shop/handlers.py:2 in hhh")


def test_an_error_that_was_never_raised_is_told_without_place_and_traceback() -> None:
    failure = Failure(ValueError("why"), Settings(url="memory://x"))

    assert (failure.place, failure.traceback) == ("", "")
    assert failure.text == "ValueError: why"


def test_a_cause_that_was_never_raised_has_the_place_of_the_retry() -> None:
    def retry() -> None:
        raise Retry(0) from ValueError("why")

    failure = caught(retry)

    assert failure.type_name == "ValueError"
    assert failure.place.endswith(".retry")


@pytest.mark.parametrize("character", ["x", "é", "€", "😀", "\ud800", "\0"])
def test_of_a_long_traceback_both_ends_are_kept(character: str) -> None:
    def fail_at_length() -> None:
        raise ValueError(f"begins {character * 20_000} ends")

    trace = caught(fail_at_length).traceback

    assert len(trace) <= MAX_TRACEBACK_CHARACTERS
    assert len(trace.encode("utf-8")) <= MAX_TRACEBACK_BYTES
    assert trace.startswith("Traceback (most recent call last):\n")
    assert "begins" in trace
    assert trace.endswith(" ends\n")
    assert "\n...\n" in trace
    assert "\0" not in trace


def test_a_traceback_of_the_greatest_length_is_whole() -> None:
    def fail_with(length: int) -> Callable[[], None]:
        def handler() -> None:
            raise ValueError("x" * length)

        return handler

    rest = len(caught(fail_with(0)).traceback) + 2  # ": "
    whole = caught(fail_with(MAX_TRACEBACK_CHARACTERS - rest)).traceback
    cut = caught(fail_with(MAX_TRACEBACK_CHARACTERS - rest + 1)).traceback

    assert len(whole) == MAX_TRACEBACK_CHARACTERS
    assert "\n...\n" not in whole
    assert "\n...\n" in cut


def test_a_traceback_that_cannot_be_formatted_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(error: BaseException) -> list[str]:
        raise SystemExit

    monkeypatch.setattr("traceback.format_exception", refuse)

    assert caught(lambda: UUID("x")).traceback == "(its traceback cannot be shown: SystemExit)"


STORY = {
    "deb-reason": "error",
    "deb-error-message": "m" * 1_000,
    "deb-error-traceback": "t" * 8_000,
}


@pytest.mark.parametrize(
    ("room", "missing"),
    [
        (20_000, set()),
        (8_000, {"deb-error-traceback"}),
        (900, {"deb-error-traceback", "deb-error-message"}),
        (-1, {"deb-error-traceback", "deb-error-message"}),
    ],
)
@pytest.mark.parametrize("kind", ["text", "bytes", "nested", "many"])
def test_where_all_is_too_large_the_story_gives_way(
    room: int, missing: set[str], kind: str
) -> None:
    size = MAX_HEADERS_BYTES - room
    foreign: dict[str, dict[Any, Any]] = {
        "text": {"large": "x" * (size - 100)},
        "bytes": {"large": b"x" * (size - 100)},
        "nested": {"large": {"a": [{"b": "€" * (size // 3 - 60)}]}},
        "many": {f"h{number:03}": "x" * (size // 100 - 16) for number in range(100)},
    }

    headers = with_story(foreign[kind], STORY)

    assert set(STORY) - set(headers) == missing
    assert foreign[kind].items() <= headers.items()


def test_headers_may_be_nested_beyond_any_recursion() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]

    assert with_story({"nested": nested}, STORY)["deb-reason"] == "error"
