"""An exception that hits the main thread while it waits for a confirm."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from types import FrameType

import pytest

from domain_event_broker import (
    DomainEvent,
    Outcome,
    Publisher,
    publish_domain_event,
    publish_domain_events,
)
from domain_event_broker.settings import BrokerSetting
from domain_event_broker.transports.amqp.batches import Batch
from tests.amqp.support import PATIENCE_SECONDS
from tests.support.rabbitmq import RabbitmqNode
from tests.support.raw_amqp import bind_queue, take_all
from tests.support.waiting import wait_until

MAIN_THREAD = threading.main_thread().ident or 0


class Interrupted(BaseException):
    """Raised by a signal handler, as a soft time limit does."""


@contextmanager
def interrupted_while_waiting() -> Iterator[None]:
    """Raise `Interrupted` in the main thread once it waits for confirms."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted

    def interrupt_main_thread() -> None:
        wait_until(main_thread_waits, PATIENCE_SECONDS)
        signal.pthread_kill(MAIN_THREAD, signal.SIGALRM)

    before = signal.signal(signal.SIGALRM, interrupt)
    thread = Thread(target=interrupt_main_thread)
    thread.start()
    try:
        with pytest.raises(Interrupted):
            yield
    finally:
        thread.join()
        signal.signal(signal.SIGALRM, before)


def main_thread_waits() -> bool:
    frames = traceback.walk_stack(sys._current_frames()[MAIN_THREAD])
    return any(frame.f_code is Batch.wait.__code__ for frame, _ in frames)


def publish_one(settings: BrokerSetting) -> None:
    Publisher(settings).publish(b"{}", "user.left")


def publish_many(settings: BrokerSetting) -> None:
    """More than may be on the wire at a time."""
    publish_domain_events([DomainEvent("user.left", {"is": "abandoned"})] * 3_000, settings)


@pytest.mark.parametrize("publish", [publish_one, publish_many])
@pytest.mark.fault(row=11)
def test_later_publishes_are_told_their_own_outcomes(
    restartable_rabbitmq: RabbitmqNode, publish: Callable[[BrokerSetting], None]
) -> None:
    url = restartable_rabbitmq.new_vhost()
    bind_queue(url, "seen", "user.#")
    settings = {"URL": url, "PUBLISH_TIMEOUT": PATIENCE_SECONDS, "UNROUTABLE": "ignore"}
    publish_domain_event("user.left", {}, connection_settings=settings)
    confirmed: list[str] = []
    for _ in range(5):
        with restartable_rabbitmq.frozen(), interrupted_while_waiting():
            publish(settings)
        # The confirms that nobody waits for come now, before those of these.
        events = [DomainEvent(key) for key in ("nobody.hears", "user.left", "nobody.hears")]
        results = publish_domain_events(events, settings)
        assert [result.outcome for result in results] == [
            Outcome.UNROUTABLE,
            Outcome.CONFIRMED,
            Outcome.UNROUTABLE,
        ]
        confirmed.append(events[1].uuid_string)
    stored = {DomainEvent.from_json(message.body).uuid_string for message in take_all(url, "seen")}
    assert set(confirmed) <= stored
