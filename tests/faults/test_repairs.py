"""Whoever decides on dead letters is killed at a named point: nothing is lost, doubled or unsaid.

See `tests.faults.orders.points`. On the database transport a replay is in its handler's queue with
the transaction that notes it: there is nothing behind its commit to be killed at.
"""

from __future__ import annotations

from functools import partial

import pytest

from .project import Shop
from .repairs import (
    BATCH,
    REPLAYING,
    decide_at_once,
    kill_collector,
    kill_discard,
    kill_replay,
)
from .runs import repeat, with_each_seed

pytestmark = pytest.mark.fault(row=23)

POINT_WITHOUT_OUTBOX = "before the commit"


class TestCollecting:
    def test_on_rabbitmq_and_postgresql(self, rabbitmq_shop: Shop) -> None:
        self.see_exactly_once("rabbitmq and postgresql", rabbitmq_shop)

    def test_on_the_database_transport_and_postgresql(self, postgresql_shop: Shop) -> None:
        self.see_exactly_once("database transport, postgresql", postgresql_shop)

    def test_on_the_database_transport_and_sqlite(self, sqlite_shop: Shop) -> None:
        self.see_exactly_once("database transport, sqlite", sqlite_shop)

    def see_exactly_once(self, where: str, shop: Shop) -> None:
        shop.set(BATCH=BATCH)
        repeat(f"{where}, collector killed", shop, partial(kill_collector, shop))


class TestReplaying:
    @pytest.mark.parametrize("point", REPLAYING)
    def test_on_rabbitmq_and_postgresql(self, rabbitmq_shop: Shop, point: str) -> None:
        self.see_exactly_once("rabbitmq and postgresql", rabbitmq_shop, point)

    def test_on_the_database_transport_and_postgresql(self, postgresql_shop: Shop) -> None:
        self.see_exactly_once("database transport, postgresql", postgresql_shop)

    def test_on_the_database_transport_and_sqlite(self, sqlite_shop: Shop) -> None:
        self.see_exactly_once("database transport, sqlite", sqlite_shop)

    def see_exactly_once(self, where: str, shop: Shop, point: str = POINT_WITHOUT_OUTBOX) -> None:
        shop.set(BATCH=BATCH)
        repeat(f"{where}, replay killed {point}", shop, partial(kill_replay, point, shop))


class TestDiscarding:
    """What was discarded has no effect, all else has one, and each decision its author."""

    def test_on_rabbitmq_and_postgresql(self, rabbitmq_shop: Shop) -> None:
        self.see_each_settled(rabbitmq_shop)

    def test_on_the_database_transport_and_sqlite(self, sqlite_shop: Shop) -> None:
        self.see_each_settled(sqlite_shop)

    def see_each_settled(self, shop: Shop) -> None:
        shop.set(BATCH=BATCH)
        with_each_seed("discard killed", partial(kill_discard, shop))


class TestTwoOperators:
    """One replays and one discards, at the same time."""

    def test_on_rabbitmq_and_postgresql(self, rabbitmq_shop: Shop) -> None:
        self.see_each_settled(rabbitmq_shop)

    def test_on_the_database_transport_and_postgresql(self, postgresql_shop: Shop) -> None:
        self.see_each_settled(postgresql_shop)

    def test_on_the_database_transport_and_sqlite(self, sqlite_shop: Shop) -> None:
        self.see_each_settled(sqlite_shop)

    def see_each_settled(self, shop: Shop) -> None:
        shop.set(BATCH=BATCH)
        with_each_seed("two operators", partial(decide_at_once, shop))
