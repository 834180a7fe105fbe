"""What PostgreSQL does and SQLite cannot: several who write at once."""

from __future__ import annotations

import threading

import pytest
from django.db import transaction

from domain_event_broker.django.sending import outbox
from tests.support.threads import start_thread

from .rows import LONG, names_of, put


def test_a_claim_goes_past_what_another_is_claiming(postgresql_alias: str) -> None:
    """And so no relay waits for another."""
    put("a", "b", "c", using=postgresql_alias)
    claimed, done = threading.Event(), threading.Event()

    def claim_two_and_wait() -> None:
        with transaction.atomic(using=postgresql_alias):
            outbox(postgresql_alias).claim(2, "first", LONG)
            claimed.set()
            done.wait(30)
            transaction.set_rollback(True, using=postgresql_alias)

    thread = start_thread(claim_two_and_wait)
    claimed.wait(30)

    assert names_of(outbox(postgresql_alias).claim(5, "second", LONG)) == ["c"]
    done.set()
    thread.join(30)
    assert names_of(outbox(postgresql_alias).claim(5, "third", LONG)) == ["a", "b"]


@pytest.mark.parametrize("limit", [1, 3])
def test_a_claim_takes_no_more_than_its_limit(postgresql_alias: str, limit: int) -> None:
    """However the planner joins: a subquery with a limit may be evaluated again."""
    put(*map(str, range(10)), using=postgresql_alias)

    assert len(outbox(postgresql_alias).claim(limit, "a token", LONG)) == limit
    assert outbox(postgresql_alias).leased().count() == limit
