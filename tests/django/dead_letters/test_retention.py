"""Dead letters that are older, or more, than the settings keep."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from domain_event_broker.django.dead_letters.retention import expire
from domain_event_broker.django.dialects import FromNow
from domain_event_broker.django.models import DeadLetter
from domain_event_broker.settings import parse
from tests.django.marks import both_databases

pytestmark = both_databases

DAY_SECONDS = 24 * 3600


def letter(name: str, days: float = 0.0, handler: str = "reserve", **columns: Any) -> None:
    """A dead letter whose last failure was so many days ago."""
    DeadLetter.objects.create(
        identity=name,
        handler=handler,
        event_id=name,
        routing_key="order.placed",
        body=b"{}",
        properties="{}",
        error_type="KeyError",
        **columns,
    )
    DeadLetter.objects.filter(identity=name).update(failed_at=FromNow(-days * DAY_SECONDS))


def left() -> list[str]:
    return list(DeadLetter.objects.order_by("pk").values_list("identity", flat=True))


def expire_by(**settings: Any) -> int:
    parsed = parse({"URL": "memory://retention", **settings})
    assert parsed is not None
    return expire(parsed)


def test_all_are_kept_by_default() -> None:
    letter("ancient", days=10_000)
    assert expire_by() == 0
    assert left() == ["ancient"]


def test_the_old_ones_go_and_that_is_told(caplog: pytest.LogCaptureFixture) -> None:
    letter("old", days=31)
    letter("older", days=40)
    letter("young", days=29)
    with caplog.at_level(logging.WARNING, "domain_event_broker"):
        assert expire_by(DEAD_LETTER_RETENTION_DAYS=30) == 2
    assert left() == ["young"]
    assert [message.partition(" are")[0] for message in caplog.messages] == [
        "2 dead letters of reserve (KeyError)"
    ]


def test_of_each_handler_the_latest_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a", "b", "c"):
        letter(name)
        letter(f"{name} of another", handler="another")
    letter("d")
    with caplog.at_level(logging.WARNING, "domain_event_broker"):
        assert expire_by(DEAD_LETTER_RETENTION_COUNT=3) == 1
    assert left() == ["a of another", "b", "b of another", "c", "c of another", "d"]
    assert len(caplog.messages) == 1


def test_what_somebody_decided_on_is_not_meant() -> None:
    letter("replayed", days=31, state=DeadLetter.State.REPLAYED)
    letter("discarded", days=31, state=DeadLetter.State.DISCARDED)
    assert expire_by(DEAD_LETTER_RETENTION_DAYS=30, DEAD_LETTER_RETENTION_COUNT=1) == 0
    assert left() == ["replayed", "discarded"]


def test_many_go_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("domain_event_broker.django.dead_letters.retention._BATCH", 2)
    for number in range(5):
        letter(str(number), days=31)
    assert expire_by(DEAD_LETTER_RETENTION_DAYS=30) == 5
    assert left() == []
