"""The gate that forks wait at."""

from __future__ import annotations

import threading

import pytest

from domain_event_broker.django import forking
from domain_event_broker.django.forking import ForkGate

DEADLINE_SECONDS = 30.0


@pytest.fixture
def gate() -> ForkGate:
    return ForkGate()


def begin(work: threading.Thread) -> threading.Thread:
    work.start()
    return work


def test_a_fork_waits_for_the_thread_that_is_inside(gate: ForkGate) -> None:
    entered, leave = threading.Event(), threading.Event()
    order: list[str] = []

    def work() -> None:
        with gate.inside():
            entered.set()
            leave.wait(DEADLINE_SECONDS)
            order.append("left")

    def fork() -> None:
        gate.before_fork()
        order.append("forked")
        gate.after_in_parent()

    worker = begin(threading.Thread(target=work))
    assert entered.wait(DEADLINE_SECONDS)
    forker = begin(threading.Thread(target=fork))
    leave.set()
    worker.join(DEADLINE_SECONDS)
    forker.join(DEADLINE_SECONDS)

    assert order == ["left", "forked"]


def test_nobody_enters_during_a_fork(gate: ForkGate) -> None:
    order: list[str] = []

    def work() -> None:
        with gate.inside():
            order.append("entered")

    gate.before_fork()
    worker = begin(threading.Thread(target=work))
    order.append("forked")
    gate.after_in_parent()
    worker.join(DEADLINE_SECONDS)

    assert order == ["forked", "entered"]


def test_a_fork_need_not_wait_for_one_that_is_outside_for_a_while(gate: ForkGate) -> None:
    forked = threading.Event()

    def fork() -> None:
        gate.before_fork()
        forked.set()
        gate.after_in_parent()

    with gate.inside():
        forker = threading.Thread(target=fork)
        with gate.outside():
            begin(forker)
            assert forked.wait(DEADLINE_SECONDS)
        assert gate._inside == {threading.get_ident()}
        assert not gate._forks
    forker.join(DEADLINE_SECONDS)


def test_who_is_not_inside_stays_outside(gate: ForkGate) -> None:
    with gate.outside():
        assert gate._inside == set()
    assert gate._inside == set()


def test_a_thread_inside_may_enter_again_and_may_fork(gate: ForkGate) -> None:
    with gate.inside():
        with gate.inside():
            pass
        gate.before_fork()
        gate.after_in_parent()
        assert gate._inside == {threading.get_ident()}
    assert gate._inside == set()


def test_the_child_knows_of_no_thread_but_its_own(gate: ForkGate) -> None:
    gate._inside = {threading.get_ident(), -1}
    gate._forks = 2
    gate.after_in_child()

    gate.before_fork()  # waits for nobody
    gate.after_in_parent()
    assert gate._inside == {threading.get_ident()}


def test_a_statement_that_never_ends_holds_no_fork_up_for_ever(
    gate: ForkGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forking, "_MAX_WAIT_SECONDS", 0.01)
    gate._inside = {-1}
    gate.before_fork()
