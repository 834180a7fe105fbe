"""`Subscriber.stop_consuming`: from anywhere, at any time."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from domain_event_broker import DomainEvent, Subscriber, publish_domain_event
from domain_event_broker.transports.memory import MemoryConsumer
from tests.support.waiting import wait_until

from .helpers import LIMIT_SECONDS, Background, Recorder, drain, subscriber


class Blocked:
    """A handler that does not return before it is let."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.may_end = threading.Event()
        self.has_ended = threading.Event()

    def __call__(self, event: DomainEvent) -> None:
        self.started.set()
        assert self.may_end.wait(LIMIT_SECONDS)
        self.has_ended.set()


def publish(url: str, data: Any = None) -> None:
    publish_domain_event("a.b", data, connection_settings=url)


@contextmanager
def signal_handler(number: signal.Signals, action: Any) -> Iterator[None]:
    before = signal.signal(number, action)
    try:
        yield
    finally:
        signal.signal(number, before)


@contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[None]:
    """Run `work` in a thread beside the block."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield
    thread.join(LIMIT_SECONDS)
    assert not thread.is_alive()


def test_stopping_before_it_starts_lets_it_return_at_once(url: str) -> None:
    subscribed = subscriber(url, Recorder())
    subscribed.stop_consuming()
    with Background(subscribed) as background:
        background.wait()

    assert background.error is None


def test_a_stop_counts_once(url: str) -> None:
    handler = Recorder()
    subscribed = subscriber(url, handler)
    subscribed.stop_consuming()
    subscribed.stop_consuming()
    subscribed.start_consuming(LIMIT_SECONDS)
    publish(url, 1)
    subscribed.start_consuming(LIMIT_SECONDS, max_events=1)

    assert handler.data == [1]


def test_stopping_from_another_thread(url: str) -> None:
    handler = Recorder()
    subscribed = subscriber(url, handler)
    with Background(subscribed) as background:
        publish(url, 1)
        wait_until(lambda: handler.events)
        subscribed.stop_consuming()
        background.wait()


def test_stopping_from_a_handler_ends_after_its_event(url: str) -> None:
    handler = Recorder()
    subscribed = subscriber(url, handler)
    handler.behaviour = lambda event: subscribed.stop_consuming()
    for number in range(3):
        publish(url, number)
    subscribed.start_consuming(LIMIT_SECONDS)

    assert handler.data == [0]
    handler.behaviour = None
    drain(subscribed)
    assert handler.data == [0, 1, 2]


def test_stopping_from_a_signal_handler(url: str) -> None:
    handler = Recorder()
    subscribed = subscriber(url, handler)
    publish(url, 1)

    def send_signal() -> None:
        wait_until(lambda: handler.events)
        os.kill(os.getpid(), signal.SIGUSR1)

    with (
        signal_handler(signal.SIGUSR1, lambda *_: subscribed.stop_consuming()),
        meanwhile(send_signal),
    ):
        subscribed.start_consuming()


def test_an_interrupt_stops_it_gracefully(url: str) -> None:
    handler = Blocked()
    subscribed = subscriber(url, handler)
    consumer = subscribed._consumer
    assert isinstance(consumer, MemoryConsumer)
    publish(url, 1)

    def interrupt() -> None:
        assert handler.started.wait(LIMIT_SECONDS)
        os.kill(os.getpid(), signal.SIGINT)
        wait_until(lambda: not consumer._is_started)
        handler.may_end.set()

    with signal_handler(signal.SIGINT, signal.default_int_handler), meanwhile(interrupt):
        subscribed.start_consuming()

    assert handler.has_ended.is_set()
    left = Recorder()
    drain(subscriber(url, left))
    assert left.events == []


def test_a_running_handler_may_finish_and_its_event_is_done(url: str) -> None:
    handler = Blocked()
    subscribed = subscriber(url, handler)
    publish(url, 1)
    publish(url, 2)
    with Background(subscribed) as background:
        assert handler.started.wait(LIMIT_SECONDS)
        subscribed.stop_consuming()
        handler.may_end.set()
        background.wait()
    left = Recorder()
    drain(subscriber(url, left))

    assert handler.has_ended.is_set()
    assert left.data == [2]


def test_a_handler_beyond_the_shutdown_timeout_is_left_and_its_event_comes_back(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Blocked()
    subscribed = subscriber(url, handler)
    publish(url, 1)
    with Background(subscribed, shutdown_timeout_seconds=0.05) as background:
        assert handler.started.wait(LIMIT_SECONDS)
        subscribed.stop_consuming()
        background.wait()
    again = Recorder()
    drain(subscriber(url, again))

    assert not handler.has_ended.is_set()
    assert "still running" in caplog.text
    assert again.data == [1]
    handler.may_end.set()
    assert handler.has_ended.wait(LIMIT_SECONDS)


def test_what_an_abandoned_handler_ends_with_is_harmless(url: str) -> None:
    handler = Blocked()
    subscribed = subscriber(url, handler)
    publish(url, 1)
    with Background(subscribed, shutdown_timeout_seconds=0) as background:
        assert handler.started.wait(LIMIT_SECONDS)
        subscribed.stop_consuming()
        background.wait()
    threads = [t for t in threading.enumerate() if t.name == "domain-event-handlers"]
    handler.may_end.set()
    for thread in threads:
        thread.join(LIMIT_SECONDS)
        assert not thread.is_alive()
    again = Recorder()
    drain(subscriber(url, again))

    assert again.data == [1]


def test_handlers_may_be_started_again_after_a_stop(url: str) -> None:
    handler = Recorder()
    subscribed = subscriber(url, handler)
    for count in (1, 2, 3):
        with Background(subscribed):
            publish(url, count)
            wait_until(lambda: len(handler.events) == count)  # noqa: B023

    assert handler.data == [1, 2, 3]


def test_stopping_what_never_ran_is_harmless() -> None:
    Subscriber(None).stop_consuming()


LOOP = """
import signal, sys
from domain_event_broker import Subscriber, publish_domain_event

subscriber = Subscriber("memory://x")

def handle(event):
    print("handled", event.data, flush=True)
    while not stopped:
        pass

stopped = []

def stop(*_):
    subscriber.stop_consuming()
    stopped.append(True)

signal.signal(signal.SIGTERM, stop)
subscriber.register(handle, "handler", ["#"])
publish_domain_event("a.b", 1, connection_settings="memory://x")
subscriber.start_consuming()
print("returned", flush=True)
"""


def test_a_process_ends_by_itself_once_its_signal_handler_stopped_it() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LOOP], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "handled 1\n"
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=LIMIT_SECONDS)

    assert output == "returned\n"
    assert process.returncode == 0
