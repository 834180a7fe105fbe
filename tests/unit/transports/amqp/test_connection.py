"""The connection's thread, as far as it needs no broker."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from domain_event_broker.errors import (
    BrokerUnavailable,
    DomainEventBrokerError,
    TransportClosed,
)
from domain_event_broker.settings import Settings
from domain_event_broker.transports.amqp import connection
from domain_event_broker.transports.amqp.connection import ConnectionThread
from tests.support.waiting import wait_until


class Owner:
    """Wants nothing, but notes that it is told of what was posted."""

    def on_open(self, connection: Any) -> None: ...

    def on_lost(self, error: DomainEventBrokerError) -> None: ...

    def on_posted(self) -> None: ...

    def wants_connection(self) -> bool:
        return False

    def forget(self) -> None: ...


def test_an_interrupt_while_waking_the_loop_keeps_it_wakeable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thread = ConnectionThread(Settings(), "test", Owner())
    done: list[str] = []
    thread.post(lambda: done.append("first"))
    # Woken once more by the post itself, it may have done the work before that.
    wait_until(lambda: done == ["first"] and not thread._is_woken)

    def interrupt(callback: object) -> None:
        raise KeyboardInterrupt

    # No signal can be made to arrive between two given lines.
    with monkeypatch.context() as patched:
        patched.setattr(thread.loop, "add_callback_threadsafe", interrupt)
        with pytest.raises(KeyboardInterrupt):
            thread.post(lambda: done.append("second"))
    thread.post(lambda: done.append("third"))
    wait_until(lambda: done == ["first", "second", "third"])
    thread.close(10)


def test_work_that_fails_ends_neither_the_thread_nor_what_follows() -> None:
    thread = ConnectionThread(Settings(), "test", Owner())
    done: list[str] = []

    def fail() -> None:
        raise RuntimeError("unexpected")

    thread.post(fail)
    thread.post(lambda: done.append("later"))
    wait_until(lambda: done == ["later"])
    thread.close(10)


def test_what_breaks_as_soon_as_it_works_waits_ever_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such as where the broker ends the connection over its second channel."""
    thread = ConnectionThread(Settings(), "test", Owner())
    monkeypatch.setattr("domain_event_broker.transports.amqp.pacing.STEADY_SECONDS", 60.0)
    for count in (1, 2, 3):
        thread.settled()
        thread._forget_connection(BrokerUnavailable("It is gone."))
        assert thread._losses == count
    monkeypatch.setattr("domain_event_broker.transports.amqp.pacing.STEADY_SECONDS", 0.0)
    thread.settled()
    thread._forget_connection(BrokerUnavailable("It is gone."))
    assert thread._losses == 1


class TestSoon:
    """What is posted to be done soon waits for more, but not for ever."""

    @pytest.fixture
    def gathering(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[tuple[ConnectionThread, list[str]]]:
        """A thread that has just done "first" and waits for what follows, longer than any test."""
        monkeypatch.setattr(connection, "_SOON_SECONDS", 3600.0)
        thread = ConnectionThread(Settings(), "test", Owner())
        done: list[str] = []
        thread.post_soon(lambda: done.append("first"))
        wait_until(lambda: done == ["first"] and thread._is_looking)
        yield thread, done
        thread.close(10)

    def test_it_waits_for_somebody_in_a_hurry(
        self, gathering: tuple[ConnectionThread, list[str]]
    ) -> None:
        thread, done = gathering
        thread.post_soon(lambda: done.append("second"))
        thread.post_soon(lambda: done.append("third"))
        assert done == ["first"]
        thread.hurry()
        wait_until(lambda: done == ["first", "second", "third"])

    def test_what_is_posted_to_be_done_now_takes_it_along(
        self, gathering: tuple[ConnectionThread, list[str]]
    ) -> None:
        thread, done = gathering
        thread.post_soon(lambda: done.append("second"))
        thread.post(lambda: done.append("third"))
        wait_until(lambda: done == ["first", "second", "third"])

    def test_closing_does_it(self, gathering: tuple[ConnectionThread, list[str]]) -> None:
        thread, done = gathering
        thread.post_soon(lambda: done.append("second"))
        thread.close(10)
        assert done == ["first", "second"]
        with pytest.raises(TransportClosed):
            thread.post_soon(lambda: done.append("third"))

    def test_nobody_need_hurry(self) -> None:
        thread = ConnectionThread(Settings(), "test", Owner())
        done: list[int] = []
        for number in range(5_000):
            thread.post_soon(partial(done.append, number))
        wait_until(lambda: done == list(range(5_000)))
        thread.close(10)

    def test_it_is_done_after_the_loop_broke(
        self, gathering: tuple[ConnectionThread, list[str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        thread, done = gathering

        def fail() -> None:
            raise RuntimeError("unexpected")

        thread.post_soon(fail)
        thread.post_soon(lambda: done.append("second"))
        thread.hurry()
        wait_until(lambda: done == ["first", "second"])
