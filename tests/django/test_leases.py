"""Keeping leases in a thread, and the tokens that name their holders."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial

import pytest
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from domain_event_broker.django.leases import LeaseKeeper, ProcessToken, new_token
from domain_event_broker.django.models import OutboxEvent
from tests.support.threads import start_thread
from tests.support.waiting import wait_until

from .marks import both_databases

HOURS = 3_600.0 * 24


class Notes:
    """What a keeper did, and in which thread."""

    def __init__(self) -> None:
        self.renewals: list[threading.Thread] = []
        self.ends: list[threading.Thread] = []

    def renew(self) -> None:
        self.renewals.append(threading.current_thread())

    def finish(self) -> None:
        self.ends.append(threading.current_thread())


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def quick(notes: Notes) -> Iterator[LeaseKeeper]:
    """One that renews every few milliseconds."""
    keeper = LeaseKeeper(notes.renew, 0.03, "a keeper", notes.finish)
    yield keeper
    keeper.stop(30)


@pytest.fixture
def slow(notes: Notes) -> Iterator[LeaseKeeper]:
    """One that renews when it is kicked."""
    keeper = LeaseKeeper(notes.renew, HOURS, "a keeper", notes.finish)
    yield keeper
    keeper.stop(30)


def test_it_renews_again_and_again_in_one_thread(quick: LeaseKeeper, notes: Notes) -> None:
    quick.start()
    quick.start()
    wait_until(lambda: len(notes.renewals) > 5)

    assert len(set(notes.renewals)) == 1
    assert notes.renewals[0] is not threading.current_thread()
    assert notes.renewals[0].name == "a keeper"


def test_it_does_nothing_before_the_start(slow: LeaseKeeper, notes: Notes) -> None:
    slow.kick()

    assert not slow.is_running
    assert notes.renewals == []


def test_a_kick_renews_at_once(slow: LeaseKeeper, notes: Notes) -> None:
    slow.start()
    for _ in range(3):
        before = len(notes.renewals)
        slow.kick()
        wait_until(partial(lambda count: len(notes.renewals) == count, before + 1))


def test_the_end_is_in_its_thread_too_and_once(quick: LeaseKeeper, notes: Notes) -> None:
    quick.start()
    wait_until(lambda: notes.renewals)
    quick.stop(30)
    quick.stop(30)

    assert not quick.is_running
    assert notes.ends == notes.renewals[:1]


def test_without_a_thread_the_end_is_here(slow: LeaseKeeper, notes: Notes) -> None:
    slow.stop(30)

    assert notes.ends == [threading.current_thread()]
    assert notes.renewals == []


def test_it_may_be_stopped_in_its_own_thread(notes: Notes) -> None:
    keeper = LeaseKeeper(lambda: keeper.stop(30), 0.03, "a keeper", notes.finish)
    keeper.start()
    wait_until(lambda: not keeper.is_running)

    assert len(notes.ends) == 1


def test_what_fails_is_logged_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    failures = iter(range(3))
    done = threading.Event()

    def renew() -> None:
        if next(failures, None) is not None:
            raise OSError("the database is away")
        done.set()

    def finish() -> None:
        raise OSError("it still is")

    keeper = LeaseKeeper(renew, 0.03, "a keeper", finish)
    keeper.start()
    assert done.wait(30)
    keeper.stop(30)

    assert not keeper.is_running
    assert caplog.messages == ["a keeper: the database is away"] * 3 + ["a keeper: it still is"]


@both_databases
def test_it_keeps_no_database_connection_between_its_renewals() -> None:
    used: list[BaseDatabaseWrapper] = []

    def renew() -> None:
        OutboxEvent.objects.count()
        used.append(connections["default"])

    keeper = LeaseKeeper(renew, HOURS, "a keeper")
    keeper.start()
    keeper.kick()
    wait_until(lambda: used and used[0].connection is None)
    keeper.stop(30)


class TestTokens:
    def test_each_is_another(self) -> None:
        tokens = {new_token() for _ in range(1_000)}

        assert len(tokens) == 1_000
        assert {len(token) for token in tokens} == {32}

    def test_a_process_has_one(self) -> None:
        token = ProcessToken()
        seen: list[str] = []
        start_thread(lambda: seen.append(str(token))).join(30)

        assert seen == [str(token)]
        assert str(ProcessToken()) != str(token)
