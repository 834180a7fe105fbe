"""`Retry` from a handler: how often, when, and what must not be lost on the way."""

import time
from typing import Any

import pytest

from domain_event_broker import DomainEvent, Retry, publish_domain_event
from domain_event_broker.handling import (
    Ending,
    Reason,
    Report,
)
from domain_event_broker.messages import Message

from .helpers import (
    LIMIT_SECONDS,
    Recorder,
    dead_letters,
    drain,
    publish_raw,
    raising,
    subscriber,
)


def publish(url: str, data: Any = None) -> DomainEvent:
    return publish_domain_event("user.registered", data, connection_settings=url)


def run(url: str, handler: Recorder, runs: int, max_retries: int) -> list[Report]:
    reports: list[Report] = []
    subscribed = subscriber(url, handler, max_retries=max_retries, on_report=reports.append)
    publish(url)
    subscribed.start_consuming(LIMIT_SECONDS, max_events=runs)
    drain(subscribed)
    return reports


@pytest.mark.parametrize(
    "delays",
    [[0, 0, 0], [0.05, 0.05, 0.05], [0.02, 0.05, 0.1], [0.1, 0.01, 0.05]],
    ids=["none", "constant", "growing", "changing"],
)
def test_three_retries_are_four_attempts_whatever_the_delays(url: str, delays: list[float]) -> None:
    times: list[float] = []

    def retry(event: DomainEvent) -> None:
        times.append(time.time())
        raise Retry(delays[event.retries] if event.retries < 3 else 0)

    handler = Recorder(retry)
    reports = run(url, handler, runs=4, max_retries=3)

    assert [event.retries for event in handler.events] == [0, 1, 2, 3]
    assert len({event.uuid_string for event in handler.events}) == 1
    for delay, earlier, later in zip(delays, times, times[1:], strict=False):
        assert later - earlier >= delay
    assert [report.ending for report in reports] == [*[Ending.RETRIED] * 3, Ending.DEAD_LETTERED]
    assert [report.delay_seconds for report in reports] == [*delays, None]
    assert [report.retries for report in reports] == [0, 1, 2, 3]
    assert reports[-1].reason is Reason.RETRIES_EXHAUSTED
    (message,) = dead_letters(url)
    assert message.headers["deb-reason"] == "retries-exhausted"
    assert message.headers["deb-retries"] == 3


def test_without_retries_the_first_one_is_a_dead_letter(url: str) -> None:
    (report,) = run(url, Recorder(raising(Retry(0))), runs=1, max_retries=0)

    assert report.reason is Reason.RETRIES_EXHAUSTED
    assert len(dead_letters(url)) == 1


def raise_from_a_failure(behind: str) -> None:
    try:
        raise ConnectionError("the database is away")
    except ConnectionError as error:
        if behind == "cause":
            raise Retry(0) from error
        if behind == "nothing":
            raise Retry(0) from None
        raise Retry(0)  # noqa: B904


@pytest.mark.parametrize(
    ("behind", "error_type", "error_message"),
    [
        ("cause", "ConnectionError", "the database is away"),
        ("context", "ConnectionError", "the database is away"),
        ("nothing", "domain_event_broker.retrying.Retry", "retry in 0 s"),
    ],
)
def test_the_story_names_what_the_last_retry_arose_from(
    url: str, behind: str, error_type: str, error_message: str
) -> None:
    run(url, Recorder(lambda event: raise_from_a_failure(behind)), runs=1, max_retries=0)

    (message,) = dead_letters(url)
    assert message.headers["deb-reason"] == "retries-exhausted"
    assert message.headers["deb-error-type"] == error_type
    assert message.headers["deb-error-message"] == error_message


def test_an_event_that_succeeds_at_last_is_handled(url: str) -> None:
    def retry_twice(event: DomainEvent) -> None:
        if event.retries < 2:
            raise Retry(0)

    reports = run(url, Recorder(retry_twice), runs=3, max_retries=5)

    assert [report.ending for report in reports] == [
        Ending.RETRIED,
        Ending.RETRIED,
        Ending.HANDLED,
    ]
    assert dead_letters(url) == []


def mutilated(delay: Any) -> Retry:
    error = Retry(1)
    error.delay = delay
    return error


class Undelayed(Retry):
    def __init__(self) -> None:
        """Not calling Retry's own, so that there is no delay."""


BAD_RETRIES: dict[str, Any] = {
    "negative": lambda event: Retry(-1),
    "beyond 30 days": lambda event: Retry(2_592_001),
    "NaN": lambda event: Retry(float("nan")),
    "beyond a float": lambda event: Retry(10**400),
    "assigned later": raising(mutilated(-1)),
    "assigned later beyond a repr": raising(mutilated(10**5_000)),
    "assigned None": raising(mutilated(None)),
    "never initialized": raising(Undelayed()),
}


@pytest.mark.parametrize("case", BAD_RETRIES)
def test_a_retry_outside_its_range_is_a_dead_letter_that_says_so(url: str, case: str) -> None:
    (report,) = run(url, Recorder(BAD_RETRIES[case]), runs=1, max_retries=3)

    assert report.reason is Reason.ERROR
    (message,) = dead_letters(url)
    assert message.headers["deb-error-type"] == "domain_event_broker.errors.InvalidRetry"
    assert "from 0 to 2592000" in message.headers["deb-error-message"]


def test_what_a_handler_does_to_its_event_changes_no_retry(url: str) -> None:
    def spoil(event: DomainEvent) -> None:
        event.data["changed"] = True
        event.uuid_string = "changed"
        event.retries = 99
        raise Retry(0)

    seen: list[tuple[Any, int, str]] = []

    def handle(event: DomainEvent) -> None:
        seen.append((dict(event.data), event.retries, event.uuid_string))
        spoil(event)

    subscribed = subscriber(url, handle, max_retries=1)
    event = publish(url, {"a": 1})
    subscribed.start_consuming(LIMIT_SECONDS, max_events=2)

    assert seen == [({"a": 1}, 0, event.uuid_string), ({"a": 1}, 1, event.uuid_string)]


def test_an_event_without_an_id_keeps_the_one_it_was_given(url: str) -> None:
    handler = Recorder(raising(Retry(0)))
    subscribed = subscriber(url, handler, max_retries=2)
    publish_raw(url, Message("a.b", b"{}"))
    subscribed.start_consuming(LIMIT_SECONDS, max_events=3)

    assert len(handler.events) == 3
    assert len({event.uuid_string for event in handler.events}) == 1


def test_a_retry_comes_back_to_its_own_handler_alone(url: str) -> None:
    retrying = Recorder(lambda event: retry_once(event))
    other = Recorder()
    subscribed = subscriber(url, retrying, "retrying", max_retries=1)
    subscribed.register(other, "other", ["#"])
    publish(url)
    subscribed.start_consuming(LIMIT_SECONDS, max_events=3)
    drain(subscribed)

    assert len(retrying.events) == 2
    assert len(other.events) == 1


def retry_once(event: DomainEvent) -> None:
    if not event.retries:
        raise Retry(0)
