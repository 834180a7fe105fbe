"""How many messages are claimed at once."""

from __future__ import annotations

from collections.abc import Callable

from domain_event_broker.django.transport.batches import Batch
from domain_event_broker.settings import resolve
from domain_event_broker.transports.base import Subscription


def sizes(count: int, most: int, handle: Callable[[Batch], None]) -> list[int]:
    """Of so many batches, one after the other."""
    found, batch = [], Batch()
    for _ in range(count):
        batch = batch.following(most)
        batch.claimed(batch.size)
        handle(batch)
        found.append(batch.size)
    return found


def taking(seconds: float, part: float = 1.0) -> Callable[[Batch], None]:
    def handle(batch: Batch) -> None:
        batch.claimed_at -= seconds
        for _ in range(int(batch.size * part)):
            batch.settled_one()

    return handle


def test_the_first_is_of_one_for_nobody_knows_how_long_it_takes() -> None:
    assert sizes(3, 100, taking(0.0, part=0.0)) == [1, 1, 1]


def test_quick_ones_grow_to_the_most() -> None:
    assert sizes(6, 20, taking(0.0)) == [1, 2, 4, 8, 16, 20]


def test_slow_ones_shrink() -> None:
    batch = Batch(40)
    for expected in (20, 10, 5, 2, 1, 1):
        batch.claimed(batch.size)
        taking(10.0)(batch)
        batch = batch.following(100)
        assert batch.size == expected


def test_those_that_take_about_as_long_as_they_should_stay() -> None:
    batch = Batch(8)
    batch.claimed(8)
    taking(0.8)(batch)
    assert batch.following(100).size == 8


def test_half_of_it_tells_how_long_it_takes() -> None:
    assert sizes(3, 100, taking(0.0, part=0.5)) == [1, 1, 1]  # half of one is none
    batch = Batch(8)
    batch.claimed(8)
    for _ in range(3):
        batch.settled_one()
    assert batch.following(100).size == 8
    batch.settled_one()
    assert batch.following(100).size == 16


def test_what_it_takes_after_that_does_not_count() -> None:
    """Where nothing waits, the rest of the time is the publishers'."""
    batch = Batch(2)
    batch.claimed(2)
    taking(0.0)(batch)
    batch.claimed_at -= 10.0
    batch.settled_one()
    assert batch.following(100).size == 4


def test_fewer_than_were_asked_for() -> None:
    batch = Batch(50)
    batch.claimed(2)
    batch.settled_one()
    assert batch.following(100).size == 100


def test_the_most_is_the_prefetch_unless_as_many_run_at_once() -> None:
    settings = resolve({"URL": "memory://", "PREFETCH": 4})
    assert settings is not None
    narrow, wide = Subscription("a", ("#",)), Subscription("a", ("#",), concurrency=16)
    assert (narrow.prefetch(settings), wide.prefetch(settings)) == (4, 16)
