"""The connection's thread, as far as it needs no broker."""

from typing import Any

import pytest

from domain_event_broker.errors import BrokerUnavailable, DomainEventBrokerError
from domain_event_broker.settings import Settings
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
