"""A connection whose heartbeats are missing is dropped, but not one that has something to read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from domain_event_broker.transports.amqp.silence import watch_for_silence


class Loop:
    """Has one timer at most, which a test lets go off."""

    def __init__(self) -> None:
        self.timer: tuple[float, Callable[[], None]] | None = None

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        assert self.timer is None
        self.timer = (seconds, callback)

    def let_pass(self) -> float:
        """Go on to when the timer goes off; tell how long it took."""
        assert self.timer is not None
        seconds, callback = self.timer
        self.timer = None
        callback()
        return seconds


class Peer:
    """A connection, and in how long it is dead."""

    def __init__(self, left: float | None) -> None:
        self.is_open = True
        self.left = left

    def seconds_until_dead(self) -> float | None:
        return self.left


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def told() -> list[str]:
    return []


def watch(peer: Peer, loop: Loop, told: list[str]) -> None:
    connection: Any = peer
    io_loop: Any = loop
    watch_for_silence(connection, io_loop, told.append)


def test_it_is_looked_at_when_it_may_be_dead_and_once_more(loop: Loop, told: list[str]) -> None:
    peer = Peer(30.0)
    watch(peer, loop, told)
    peer.left = -0.1
    assert loop.let_pass() == 30.0
    assert told == []
    loop.let_pass()

    assert told == ["its heartbeats are missing"]
    assert loop.timer is None


def test_what_was_heard_meanwhile_counts(loop: Loop, told: list[str]) -> None:
    peer = Peer(30.0)
    watch(peer, loop, told)
    peer.left = 12.0
    loop.let_pass()
    peer.left = -0.1
    assert loop.let_pass() == 12.0
    peer.left = 30.0  # it was there to be read
    loop.let_pass()
    peer.left = -0.1
    assert loop.let_pass() == 30.0

    assert told == []
    loop.let_pass()
    assert told == ["its heartbeats are missing"]


def test_one_that_was_closed_is_watched_no_more(loop: Loop, told: list[str]) -> None:
    peer = Peer(30.0)
    watch(peer, loop, told)
    peer.is_open, peer.left = False, -0.1
    loop.let_pass()

    assert loop.timer is None
    assert told == []


def test_nor_is_one_without_heartbeats(loop: Loop, told: list[str]) -> None:
    watch(Peer(None), loop, told)

    assert loop.timer is None
