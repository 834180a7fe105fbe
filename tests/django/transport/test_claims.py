"""Claiming what waits in a queue: what may have ended a process is claimed alone."""

from __future__ import annotations

import pytest
from django.db import connections

from domain_event_broker.django.inserting import write_to_queues
from domain_event_broker.django.models import Queue, QueuedMessage
from domain_event_broker.django.querysets import QueuedMessageQuerySet
from tests.django.rows import ENDED, LONG, message

pytestmark = pytest.mark.django_db

TOKEN = "a token"


def rows() -> QueuedMessageQuerySet:
    return QueuedMessage.objects.using("default")


@pytest.fixture
def queue() -> int:
    return int(Queue.objects.create(name="handler").pk)


def put(queue: int, *names: str) -> None:
    write_to_queues([(queue, message(name)) for name in names], connections[rows().db])


def claim(queue: int, limit: int = 100, lease_seconds: float = LONG) -> list[str | None]:
    claimed = rows().claim(queue, limit, TOKEN, lease_seconds)
    return [row.message.message_id for row in claimed]


def crash(queue: int, *names: str) -> None:
    """As if a consumer had died that held these."""
    held = rows().filter(queue=queue, event_id__in=names)
    held.update(lease_token="the dead")
    held.renew(ENDED)


def crashes(name: str) -> int:
    return int(rows().get(event_id=name).crashes)


def test_in_the_order_of_publishing_and_no_more_than_asked_for(queue: int) -> None:
    put(queue, "a", "b")
    put(queue, "c", "d")

    assert claim(queue, 3) == ["a", "b", "c"]
    assert claim(queue, 3) == ["d"]
    assert claim(queue, 3) == []


def test_of_one_queue_only(queue: int) -> None:
    other = int(Queue.objects.create(name="other").pk)
    put(queue, "a")
    put(other, "b")

    assert claim(other) == ["b"]


def test_a_lease_that_ends_counts_a_crash(queue: int) -> None:
    put(queue, "a")
    for count in range(4):
        (row,) = rows().claim(queue, 10, TOKEN, ENDED)
        assert row.crashes == crashes("a") == count


def test_one_that_is_given_back_counts_none(queue: int) -> None:
    put(queue, "a")
    for _ in range(4):
        (row,) = rows().claim(queue, 10, TOKEN, LONG)
        assert row.crashes == 0
        rows().held_by(TOKEN, [row.id]).give_back()


def test_what_a_dead_consumer_held_is_claimed_one_by_one(queue: int) -> None:
    put(queue, "a", "b", "c")
    crash(queue, "a", "b", "c")

    assert [claim(queue) for _ in range(4)] == [["a"], ["b"], ["c"], []]
    assert [crashes(name) for name in "abc"] == [1, 1, 1]


def test_those_before_it_go_together_and_those_behind_it_too(queue: int) -> None:
    put(queue, *"abcdef")
    rows().filter(event_id__in="ab").renew(-60)
    rows().filter(event_id__in="cd").renew(-30)
    rows().filter(event_id__in="c").update(lease_token="the dead")
    rows().filter(event_id__in="ef").renew(-10)

    assert [claim(queue) for _ in range(4)] == [["a", "b"], ["c"], ["d", "e", "f"], []]


def test_once_suspect_it_stays_so_until_it_is_settled(queue: int) -> None:
    put(queue, "a", "b")
    crash(queue, "a")
    (row,) = rows().claim(queue, 10, TOKEN, LONG)
    rows().held_by(TOKEN, [row.id]).give_back()

    assert [claim(queue) for _ in range(3)] in ([["a"], ["b"], []], [["b"], ["a"], []])
    assert crashes("a") == 1


def test_moved_it_is_as_if_it_were_new(queue: int) -> None:
    other = int(Queue.objects.create(name="other").pk)
    put(queue, "a")
    crash(queue, "a")
    (row,) = rows().claim(queue, 10, TOKEN, LONG)
    rows().held_by(TOKEN, [row.id]).move(other, message("moved"), delay_seconds=-1)

    assert rows().get().crashes == 0
    assert claim(queue) == []
    assert claim(other) == ["moved"]


def test_how_long_until_something_is_due(queue: int) -> None:
    later, empty = (int(Queue.objects.create(name=name).pk) for name in ("later", "empty"))
    put(queue, "a", "b")
    put(later, "c")
    rows().filter(queue=later).renew(LONG)
    seconds = rows().seconds_until_due([queue, later, empty])

    assert seconds[queue] <= 0
    assert 0 < seconds[later] < LONG + 0.001
    assert empty not in seconds
    assert rows().seconds_until_due([]) == {}
