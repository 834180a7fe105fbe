"""One process is killed at a named point: what was committed takes effect, once; nothing else does.

Each point is just before a call of the function that does what its name says; see
`tests.faults.orders.points`. In every run some transactions roll back, wholly or to a savepoint.
"""

from __future__ import annotations

from functools import partial

import pytest

from .kills import PUBLISHER, SUBSCRIBER, kill_at
from .project import Shop
from .runs import repeat

pytestmark = [pytest.mark.fault(row=1), pytest.mark.fault(row=2)]

WITHOUT_OUTBOX = ["before the commit", *SUBSCRIBER]


@pytest.mark.parametrize("point", [*PUBLISHER, *SUBSCRIBER])
def test_on_rabbitmq_and_postgresql(rabbitmq_shop: Shop, point: str) -> None:
    see_exactly_once("rabbitmq and postgresql", rabbitmq_shop, point)


@pytest.mark.parametrize("point", WITHOUT_OUTBOX)
def test_on_the_database_transport_and_postgresql(postgresql_shop: Shop, point: str) -> None:
    see_exactly_once("database transport, postgresql", postgresql_shop, point)


@pytest.mark.parametrize("point", WITHOUT_OUTBOX)
def test_on_the_database_transport_and_sqlite(sqlite_shop: Shop, point: str) -> None:
    see_exactly_once("database transport, sqlite", sqlite_shop, point)


def see_exactly_once(where: str, shop: Shop, point: str) -> None:
    repeat(f"{where}, {point}", shop, partial(kill_at, point, shop))
