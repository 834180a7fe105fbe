"""Rows of the outbox are part of the transaction that writes them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from django.db import IntegrityError, connections, transaction

from domain_event_broker.django.inserting import ROWS_PER_STATEMENT, write_to_outbox
from domain_event_broker.django.sending import outbox

from .marks import both_databases
from .rows import DEFAULT, LONG, message, names_of, only_row, put, there

pytestmark = both_databases


class Rollback(Exception):
    """Ends a transaction without effect."""


def test_the_ids_are_in_the_order_of_the_messages() -> None:
    ids = put("a", "b", "c")

    assert ids == sorted(ids)
    assert [outbox(DEFAULT).get(pk=pk).event_id for pk in ids] == ["a", "b", "c"]


@pytest.mark.parametrize("count", [ROWS_PER_STATEMENT, ROWS_PER_STATEMENT + 1, 1_700])
def test_any_number_keeps_its_order(count: int) -> None:
    names = [f"event {number}" for number in range(count)]
    with transaction.atomic():
        ids = put(*names)

    assert ids == sorted(set(ids))
    assert there() == names
    assert names_of(outbox(DEFAULT).claim(2_000, "a token", LONG)) == names


def test_nothing_is_written_for_no_message() -> None:
    assert put() == []
    assert there() == []


def test_a_rollback_leaves_none() -> None:
    with suppress(Rollback), transaction.atomic():
        put("a")
        assert there() == ["a"]
        raise Rollback

    assert there() == []


def test_a_savepoint_s_rollback_leaves_none_of_it() -> None:
    with transaction.atomic():
        put("before")
        with suppress(Rollback), transaction.atomic():
            put("within")
            raise Rollback
        put("after")

    assert there() == ["before", "after"]


def test_outside_a_transaction_all_are_written_or_none() -> None:
    nothing: Any = None

    with pytest.raises(IntegrityError):
        write_to_outbox(
            [message("a"), message("b", body=nothing)], "a token", LONG, connections[DEFAULT]
        )
    assert there() == []


def test_each_database_has_its_own() -> None:
    put("here")
    put("there", using="other")

    assert (there(), there("other")) == (["here"], ["there"])


def test_a_new_row_is_its_writer_s() -> None:
    put("a", token="a token", lease_seconds=LONG)

    row = only_row()
    assert (row.lease_token, row.attempts, row.error) == ("a token", 0, "")
    assert row.due_at is not None
    assert row.created_at < row.due_at
    assert outbox(DEFAULT).claim(1, "another", LONG) == []


def test_an_id_is_never_used_again() -> None:
    """Whoever held a row may yet speak of it by its id."""
    first, second = put("a", "b")
    outbox(DEFAULT).all().delete()
    (third,) = put("c")

    assert first < second < third


def test_a_row_names_its_event() -> None:
    put("an id")

    assert str(only_row()) == "order.placed an id"
