"""What a delivery says beside its event: when it is due, and how many runs of it crashed."""

from typing import Any

import pytest

from domain_event_broker import Retry
from domain_event_broker.handling import Ending, Reason, Registration, Report, now_ms
from domain_event_broker.messages import Message
from domain_event_broker.settings import Settings
from domain_event_broker.transports import transport_for
from domain_event_broker.transports.base import Delivery, Subscription

from .helpers import LIMIT_SECONDS, Recorder, dead_letters, publish_raw, raising


def process(url: str, handler: Recorder, **changes: Any) -> tuple[Report, list[Message]]:
    """One delivery past the subscriber, as a transport may hand it over."""
    consumer = transport_for(Settings(url=url)).consumer()
    subscription = Subscription("handler", ("#",))
    consumer.subscribe(subscription)
    consumer.start()
    publish_raw(url, Message("a.b", b"{}", headers=changes.pop("headers", {})))
    delivery = consumer.receive(0)
    assert isinstance(delivery, Delivery)
    delivery.crashes = changes.pop("crashes", 0)
    registration = Registration(handler, subscription, Settings(url=url), max_retries=3)
    report = registration.process(delivery, consumer)
    consumer.close()
    return report, dead_letters(url)


def next_delivery(url: str) -> Delivery:
    consumer = transport_for(Settings(url=url)).consumer()
    consumer.subscribe(Subscription("handler", ("#",)))
    consumer.start()
    delivery = consumer.receive(LIMIT_SECONDS)
    consumer.close()
    assert delivery is not None
    return delivery


def test_a_retried_message_says_how_often_and_when(url: str) -> None:
    before_ms = now_ms()
    process(url, Recorder(raising(Retry(0.05))), headers={"deb-retries": 1, "tenant": "x"})
    after_ms = now_ms()

    headers = dict(next_delivery(url).message.headers)
    assert before_ms + 50 <= headers.pop("deb-due-at-ms") <= after_ms + 52
    assert before_ms <= headers.pop("deb-first-failed-at-ms") <= after_ms
    assert headers == {"deb-retries": 2, "deb-routing-key": "a.b", "tenant": "x"}


def test_what_comes_back_early_waits_on_without_its_handler_or_the_brokers_headers(
    url: str,
) -> None:
    handler = Recorder()
    due_at_ms = now_ms() + 100
    headers = {"deb-due-at-ms": due_at_ms, "deb-retries": 2, "x-death": [1], "CC": ["elsewhere"]}
    report, _ = process(url, handler, headers=headers)

    assert report.ending is Ending.POSTPONED
    assert handler.events == []
    delivery = next_delivery(url)
    assert now_ms() >= due_at_ms
    assert delivery.message.headers == {
        "deb-due-at-ms": due_at_ms,
        "deb-retries": 2,
        "deb-routing-key": "a.b",
    }


@pytest.mark.parametrize("due_at_ms", [1, -1, 2**63 - 1, "soon", 1.5, True, None, [9**20]])
def test_a_time_that_no_retry_can_have_is_no_reason_to_wait(url: str, due_at_ms: Any) -> None:
    handler = Recorder()
    report, _ = process(url, handler, headers={"deb-due-at-ms": due_at_ms})

    assert report.ending is Ending.HANDLED
    assert len(handler.events) == 1


@pytest.mark.parametrize(("crashes", "runs"), [(0, 1), (4, 1), (5, 0), (6, 0)])
def test_what_kills_its_process_again_and_again_is_dead_lettered_unseen(
    url: str, crashes: int, runs: int
) -> None:
    handler = Recorder()
    report, letters = process(url, handler, crashes=crashes)

    assert len(handler.events) == runs
    if not runs:
        assert report.reason is Reason.CRASHED
        assert letters[0].headers["deb-reason"] == "crashed"
        assert f"{crashes} deliveries ended" in letters[0].headers["deb-error-message"]
