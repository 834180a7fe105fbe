"""A sign to stop that a signal handler may set, and what a first and a second signal do."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from domain_event_broker.django.stopping import (
    SIGNALS,
    StopSign,
    hold_signals,
    stopping_on_signals,
)
from tests.support.threads import start_thread
from tests.support.waiting import wait_until

HOUR = 3_600.0


class TestStopSign:
    def test_it_is_not_set_before_it_is(self) -> None:
        sign = StopSign()
        sign.wait(0)
        assert not sign.is_set()
        sign.set()
        assert sign.is_set()

    def test_once_set_nobody_waits(self) -> None:
        sign = StopSign()
        sign.set()
        sign.set()
        for _ in range(3):
            sign.wait(HOUR)

    def test_who_waits_is_woken(self) -> None:
        sign = StopSign()
        thread = start_thread(sign.wait, HOUR)
        sign.set()
        thread.join(30)

        assert not thread.is_alive()

    def test_a_signal_may_set_it_while_it_is_waited_for(self) -> None:
        sign = StopSign()
        with stopping_on_signals(sign.set):
            start_thread(lambda: os.kill(os.getpid(), signal.SIGTERM))
            sign.wait(HOUR)

        assert sign.is_set()


class TestSignals:
    @pytest.mark.parametrize("number", SIGNALS)
    def test_the_first_asks(self, number: signal.Signals) -> None:
        asked: list[str] = []
        with stopping_on_signals(lambda: asked.append("stop")):
            os.kill(os.getpid(), number)
            wait_until(lambda: asked)

        assert asked == ["stop"]

    def test_after_the_block_all_is_as_before(self) -> None:
        before = [signal.getsignal(number) for number in SIGNALS]
        with stopping_on_signals(lambda: None):
            assert [signal.getsignal(number) for number in SIGNALS] != before

        assert [signal.getsignal(number) for number in SIGNALS] == before

    def test_in_another_thread_nothing_changes(self) -> None:
        seen: list[object] = []

        def look() -> None:
            with stopping_on_signals(lambda: None):
                seen.extend(signal.getsignal(number) for number in SIGNALS)

        start_thread(look).join(30)

        assert seen == [signal.getsignal(number) for number in SIGNALS]
        assert threading.current_thread() is threading.main_thread()

    @pytest.mark.parametrize("number", SIGNALS)
    def test_one_that_is_held_comes_when_it_is_let_in(self, number: signal.Signals) -> None:
        asked: list[str] = []
        with stopping_on_signals(lambda: asked.append("stop")):
            let_in = hold_signals()
            try:
                signal.pthread_kill(threading.get_ident(), number)
                assert number in signal.sigpending()
                assert asked == []
            finally:
                let_in()
            wait_until(lambda: asked)

        assert number not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
