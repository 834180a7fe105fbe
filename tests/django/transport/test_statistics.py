"""A claim that takes long may be the planner's doing: it is told how much there is."""

from __future__ import annotations

import threading

import pytest

from domain_event_broker.django.querysets import QueuedMessageQuerySet
from domain_event_broker.django.transport import consumer as consumers
from tests.conformance.harness import Desk, message, subscription, take_all
from tests.django.marks import both_databases
from tests.support.waiting import wait_until

pytestmark = both_databases


@pytest.fixture
def analyzed(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """Who had it told."""
    by: list[threading.Thread] = []
    analyze = QueuedMessageQuerySet.analyze

    def analyze_and_note(rows: QueuedMessageQuerySet) -> None:
        analyze(rows)
        by.append(threading.current_thread())

    monkeypatch.setattr(QueuedMessageQuerySet, "analyze", analyze_and_note)
    return by


def test_by_the_keeper_and_not_after_each(
    desk: Desk, analyzed: list[threading.Thread], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "_SLOW_CLAIM_SECONDS", -1.0)
    consumer = desk.consumer(subscription())
    desk.publish(*(message() for _ in range(20)))
    take_all(consumer, 20)
    wait_until(lambda: analyzed)
    consumer.close()

    assert len(analyzed) == 1
    assert threading.current_thread() not in analyzed


def test_not_while_all_are_quick(desk: Desk, analyzed: list[threading.Thread]) -> None:
    consumer = desk.consumer(subscription())
    desk.publish(*(message() for _ in range(20)))
    take_all(consumer, 20)
    consumer.close()

    assert analyzed == []
