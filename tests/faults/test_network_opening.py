"""A connection breaks while it is being opened: the next attempt is made soon, and not too soon."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from domain_event_broker import DomainEvent, Outcome, Subscriber, publish_domain_events
from domain_event_broker.transports import close_all
from tests.support.consuming import consuming
from tests.support.proxy import TO_CLIENT, Link, Proxy, proxy_before
from tests.support.raw_amqp import bind_queue
from tests.support.waiting import wait_until

from .networks import BREAKS
from .project import PATIENCE_SECONDS
from .recovery import Fault, noted

pytestmark = pytest.mark.fault(row=8)

PUBLISH_SECONDS = 1.0
#: How long pika waits until a connection is open; by default, 15 s.
OPEN_SECONDS = 2
#: So long that no silence is noticed by it within the test.
HEARTBEAT_SECONDS = 600
#: In the middle of which of the broker's answers, by its class and number in AMQP.
ANSWERS = {
    "greeting": bytes([0, 10, 0, 10]),
    "connection": bytes([0, 10, 0, 41]),
    "channel": bytes([0, 20, 0, 11]),
    "confirms": bytes([0, 85, 0, 11]),
}
#: Callers of a publisher at once.
CALLERS = 5
#: What is drawn may be half of it.
LONGEST_PAUSE_SECONDS, SHORTEST_OF_THOSE = 2.0, 1.0
ATTEMPTS = 9
#: Those that may be less than a second after the last one.
QUICK_ATTEMPTS = 7


@pytest.fixture
def proxy(broker_url: str) -> Iterator[Proxy]:
    bind_queue(broker_url, "seen", "#")
    with proxy_before(broker_url) as proxy:
        yield proxy
        close_all()


@pytest.fixture
def settings(proxy: Proxy, broker_url: str) -> dict[str, Any]:
    return {
        "URL": f"{proxy.url_for(broker_url)}?stack_timeout={OPEN_SECONDS}&socket_timeout=1",
        "PUBLISH_TIMEOUT": PUBLISH_SECONDS,
        "HEARTBEAT": HEARTBEAT_SECONDS,
    }


def is_confirmed(settings: dict[str, Any]) -> bool:
    (result,) = publish_domain_events([DomainEvent("user.left")], settings)
    return result.outcome is Outcome.CONFIRMED


@pytest.mark.parametrize("how", BREAKS)
def test_a_publisher_connects_anew(proxy: Proxy, settings: dict[str, Any], how: str) -> None:
    assert is_confirmed(settings)
    (link,) = proxy.links
    answers = link.seen(TO_CLIENT)
    for name, beginning in ANSWERS.items():
        close_all()
        breaking = BreakOnce(proxy, answers.index(beginning), how)
        with noted(Fault(8, f"publisher at its {name}, {how}", OPEN_SECONDS + PUBLISH_SECONDS)):
            wait_until(lambda: is_confirmed(settings), PATIENCE_SECONDS)
        assert breaking.is_done


class BreakOnce:
    """Break the next connection after so many bytes of the broker's; those that follow pass."""

    def __init__(self, proxy: Proxy, count: int, how: str) -> None:
        self.is_done = False
        self._proxy = proxy
        self._count = count
        self._break = BREAKS[how]
        proxy.greet(self._greet)

    def _greet(self, link: Link) -> None:
        link.after(self._count, TO_CLIENT, partial(self._break_it, link))
        self._proxy.greet(lambda link: None)

    def _break_it(self, link: Link) -> None:
        self.is_done = True
        self._break(link)


@pytest.mark.parametrize("answer", [None, "connection"], ids=["at once", "while opening"])
def test_a_subscriber_does_not_hurry(
    proxy: Proxy, settings: dict[str, Any], caplog: pytest.LogCaptureFixture, answer: str | None
) -> None:
    """In the long run it makes less than one attempt a second."""
    settings |= {"RECONNECT_DELAY": 0.1, "MAX_RECONNECT_DELAY": LONGEST_PAUSE_SECONDS}
    subscriber = Subscriber(settings)
    subscriber.register(lambda event: None, "hurrying", ["user.*"])
    (link,) = proxy.links
    count = 0 if answer is None else link.seen(TO_CLIENT).index(ANSWERS[answer])
    proxy.greet(lambda link: link.after(count, TO_CLIENT, link.reset))

    with consuming(subscriber), caplog.at_level(logging.INFO, "domain_event_broker"):
        accepted = proxy.accepted
        link.reset()
        wait_until(lambda: proxy.accepted >= accepted + ATTEMPTS, PATIENCE_SECONDS)
        pauses = announced_pauses(caplog)
        # None without an announcement.
        assert proxy.accepted - accepted <= len(pauses)
        assert min(pauses[-2:]) >= SHORTEST_OF_THOSE
        proxy.greet(lambda link: None)


def announced_pauses(caplog: pytest.LogCaptureFixture) -> list[float]:
    """How long it was said to wait before each attempt."""
    said = [record for record in caplog.records if "connecting to" in str(record.msg)]
    return [float(str(record.args[-1])) for record in said if isinstance(record.args, tuple)]


def test_callers_of_a_publisher_do_not_hurry_it(proxy: Proxy, settings: dict[str, Any]) -> None:
    """However many ask for a connection, attempts are as far apart as for one of them."""
    assert is_confirmed(settings)
    proxy.greet(Link.reset)
    proxy.reset()
    before, began_at = proxy.accepted, time.monotonic()

    def publish_in_vain() -> None:
        for _ in range(5):
            assert not is_confirmed(settings)

    with ThreadPoolExecutor(CALLERS) as callers:
        done = [callers.submit(publish_in_vain) for _ in range(CALLERS)]
        for each in done:
            each.result()
    elapsed_seconds = time.monotonic() - began_at
    assert proxy.accepted - before <= QUICK_ATTEMPTS + elapsed_seconds
    proxy.greet(lambda link: None)
    wait_until(lambda: is_confirmed(settings), PATIENCE_SECONDS)
