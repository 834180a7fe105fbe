"""A retry policy at work: what comes back, how often, and how it ends."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from domain_event_broker import Backoff, DomainEvent, Retry, publish_domain_event
from domain_event_broker.handling import AlreadyHandled, Ending, NotNow, Reason, Report

from .helpers import LIMIT_SECONDS, Recorder, dead_letters, drain, raising, subscriber

AT_ONCE = Backoff(max_retries=2, base=0)


class Declined(ValueError):
    pass


def run(
    url: str, handler: Recorder, backoff: Backoff, runs: int = 0, **options: Any
) -> list[Report]:
    """What is reported, of an event that comes back until it ran so often."""
    reports: list[Report] = []
    subscribed = subscriber(url, handler, backoff=backoff, on_report=reports.append, **options)
    publish_domain_event("user.registered", {"card": "1234"}, connection_settings=url)
    if runs:
        subscribed.start_consuming(LIMIT_SECONDS, max_events=runs)
    drain(subscribed)
    return reports


def test_what_fails_comes_back_until_no_retry_is_left(url: str) -> None:
    handler = Recorder(raising(ValueError("away")))
    reports = run(url, handler, AT_ONCE, runs=3)

    assert [event.retries for event in handler.events] == [0, 1, 2]
    assert [event.attempt for event in handler.events] == [1, 2, 3]
    assert [report.ending for report in reports] == [*[Ending.RETRIED] * 2, Ending.DEAD_LETTERED]
    assert [report.error_message for report in reports] == ["away"] * 3
    assert reports[-1].reason is Reason.RETRIES_EXHAUSTED
    (message,) = dead_letters(url)
    assert message.headers["deb-reason"] == "retries-exhausted"
    assert message.headers["deb-error-type"] == "ValueError"
    assert message.headers["deb-attempts"] == 3


def test_what_succeeds_at_last_is_handled(url: str) -> None:
    def fail_once(event: DomainEvent) -> None:
        if event.attempt == 1:
            raise ValueError

    reports = run(url, Recorder(fail_once), AT_ONCE, runs=2)

    assert [report.ending for report in reports] == [Ending.RETRIED, Ending.HANDLED]
    assert dead_letters(url) == []


def test_the_delays_are_those_of_the_policy(url: str) -> None:
    backoff = Backoff(max_retries=3, base=0.01, factor=2, jitter=0)
    reports = run(url, Recorder(raising(ValueError())), backoff, runs=4)

    assert [report.delay_seconds for report in reports] == [0.01, 0.02, 0.04, None]


def test_other_errors_are_dead_lettered_at_once(url: str) -> None:
    backoff = Backoff(base=0, on=(OSError,))
    (report,) = run(url, Recorder(raising(ValueError())), backoff, runs=1)

    assert report.reason is Reason.ERROR


def test_a_handler_that_exits_is_no_exception_to_retry_unless_named(url: str) -> None:
    (report,) = run(url, Recorder(raising(SystemExit(1))), AT_ONCE, runs=1)

    assert report.reason is Reason.ERROR


def test_what_is_given_up_is_dead_lettered_at_once_with_that_reason(url: str) -> None:
    backoff = Backoff(base=0, on=ValueError, giving_up=Declined)
    (report,) = run(url, Recorder(raising(Declined("no money"))), backoff, runs=1)

    assert report.reason is Reason.GAVE_UP
    (message,) = dead_letters(url)
    assert message.headers["deb-reason"] == "gave-up"
    assert message.headers["deb-attempts"] == 1


def test_what_is_given_up_after_a_retry_is_retried_no_more(url: str) -> None:
    def fail(event: DomainEvent) -> None:
        raise ValueError if event.attempt == 1 else Declined

    backoff = Backoff(max_retries=9, base=0, giving_up=Declined)
    reports = run(url, Recorder(fail), backoff, runs=2)

    assert reports[-1].reason is Reason.GAVE_UP
    assert reports[-1].retries == 1


def test_a_retry_says_its_own_delay_and_counts_with_the_others(url: str) -> None:
    def fail(event: DomainEvent) -> None:
        if event.attempt == 2:
            raise Retry(0.02)
        raise ValueError

    backoff = Backoff(max_retries=2, base=0.01, factor=1, jitter=0)
    reports = run(url, Recorder(fail), backoff, runs=3)

    assert [report.delay_seconds for report in reports] == [0.01, 0.02, None]
    assert reports[-1].reason is Reason.RETRIES_EXHAUSTED


@pytest.mark.parametrize("backoff", [Backoff(on=()), Backoff(giving_up=Exception)], ids=str)
def test_a_retry_is_asked_for_whatever_the_policy_names(url: str, backoff: Backoff) -> None:
    def retry_once(event: DomainEvent) -> None:
        if event.attempt == 1:
            raise Retry(0)

    reports = run(url, Recorder(retry_once), backoff, runs=2)

    assert [report.ending for report in reports] == [Ending.RETRIED, Ending.HANDLED]


def test_a_retry_beyond_the_last_is_exhausted(url: str) -> None:
    (report,) = run(url, Recorder(raising(Retry(0))), Backoff(max_retries=0), runs=1)

    assert report.reason is Reason.RETRIES_EXHAUSTED


@pytest.mark.parametrize(
    ("backoff", "endings"),
    [
        (AT_ONCE, [Ending.RETRIED, Ending.RETRIED, Ending.DEAD_LETTERED]),
        (Backoff(on=OSError), [Ending.DEAD_LETTERED]),
    ],
    ids=["wanted", "not"],
)
def test_a_retry_outside_its_range_is_an_error_as_any_other(
    url: str, backoff: Backoff, endings: list[Ending]
) -> None:
    handler = Recorder(lambda event: Retry(-1))
    reports = run(url, handler, backoff, runs=len(endings))

    assert [report.ending for report in reports] == endings
    (message,) = dead_letters(url)
    assert message.headers["deb-error-type"] == "domain_event_broker.errors.InvalidRetry"


def test_a_copy_of_a_handled_event_is_no_failure(url: str) -> None:
    (report,) = run(url, Recorder(raising(AlreadyHandled())), AT_ONCE)

    assert report.ending is Ending.DUPLICATE


def test_what_cannot_be_handled_now_is_not_counted(url: str) -> None:
    errors = iter([NotNow()])

    def postpone_once(event: DomainEvent) -> None:
        for error in errors:
            raise error

    handler = Recorder(postpone_once)
    reports = run(url, handler, AT_ONCE, runs=1)

    assert [report.ending for report in reports] == [Ending.RELEASED, Ending.HANDLED]
    assert [event.attempt for event in handler.events] == [1, 1]


def test_events_that_are_not_kept_are_retried_all_the_same(url: str) -> None:
    handler = Recorder(raising(ValueError()))
    reports = run(url, handler, AT_ONCE, runs=3, dead_letter=False)

    assert [report.ending for report in reports] == [*[Ending.RETRIED] * 2, Ending.DISCARDED]


def test_a_retry_is_logged_with_its_errors_type_and_without_its_text(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "domain_event_broker")

    def fail(event: DomainEvent) -> None:
        raise Declined(f"the card {event.data['card']}")

    run(url, Recorder(fail), Backoff(max_retries=1, base=0), runs=2)

    (line,) = [r.getMessage() for r in caplog.records if "retry 1 of 1" in r.getMessage()]
    assert line.endswith(f"after {__name__}.Declined")
    assert "1234" not in line


def test_the_first_failure_is_remembered_through_the_retries(url: str) -> None:
    run(url, Recorder(raising(ValueError())), Backoff(max_retries=2, base=0.01), runs=3)

    (message,) = dead_letters(url)
    # At least ten milliseconds lie between one attempt and the next.
    first, last = (message.headers[f"deb-{each}failed-at-ms"] for each in ("first-", ""))
    assert 0 < first < last
