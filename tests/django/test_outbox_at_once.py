"""Several threads, as several processes, at the same rows of the outbox."""

from __future__ import annotations

import threading
from collections import Counter

from django.db import transaction

from domain_event_broker.django.leases import new_token
from domain_event_broker.django.querysets import OutboxRow
from domain_event_broker.django.sending import outbox
from tests.support.threads import at_once, start_thread

from .marks import both_databases
from .rows import DEFAULT, ENDED, LONG, names_of, put, there

pytestmark = both_databases

THREADS = 4
ROWS = 300


def take_all() -> list[str | None]:
    """Claim until nothing is due; a few at a time."""
    taken: list[str | None] = []
    token = new_token()
    while rows := outbox(DEFAULT).claim(7, token, LONG):
        taken += names_of(rows)
    return taken


def test_no_row_is_claimed_twice() -> None:
    put(*map(str, range(ROWS)))

    shares = at_once(*[take_all] * THREADS)

    taken = Counter(name for share in shares for name in share)
    assert set(taken) == set(map(str, range(ROWS)))
    assert set(taken.values()) == {1}


def test_of_one_row_there_is_one_holder() -> None:
    put("a")
    for _ in range(10):
        claimed = at_once(*[lambda: outbox(DEFAULT).claim(5, new_token(), LONG)] * THREADS)

        assert [row.message.message_id for rows in claimed for row in rows] == ["a"]
        outbox(DEFAULT).give_back()


def test_a_row_is_settled_by_one_of_two_who_had_it() -> None:
    put(*map(str, range(ROWS)))
    late = outbox(DEFAULT).claim(ROWS, "late", ENDED)
    current = outbox(DEFAULT).claim(ROWS, "current", LONG)

    def settle(token: str, rows: list[OutboxRow]) -> int:
        return sum(outbox(DEFAULT).held_by(token, [row.id]).settle() for row in rows)

    counts = at_once(lambda: settle("late", late), lambda: settle("current", current))

    assert counts == [0, ROWS]
    assert there() == []


def test_those_not_committed_yet_are_not_seen_and_hold_nobody_up() -> None:
    written, seen = threading.Event(), threading.Event()

    def write() -> None:
        with transaction.atomic():
            put("open")
            written.set()
            seen.wait(30)

    put("committed", using="other")
    thread = start_thread(write)
    written.wait(30)
    # The later one is taken first: nothing goes by "greater than the last id".
    assert not outbox(DEFAULT).due().exists()
    assert names_of(outbox("other").claim(5, "a token", LONG)) == ["committed"]
    seen.set()
    thread.join(30)

    assert names_of(outbox(DEFAULT).claim(5, "a token", LONG)) == ["open"]
