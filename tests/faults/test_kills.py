"""One process is killed at a named point: what was committed takes effect, once; nothing else does.

Each point is just before a call of the function that does what its name says; see
`tests.faults.orders.points`. In every run some transactions roll back, wholly or to a savepoint.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Set
from functools import partial
from random import Random
from typing import Any

import pytest

from tests.support.raw_amqp import bind_queue, take_all

from .kills import PUBLISHER, SUBSCRIBER, kill_at
from .project import Shop
from .runs import repeat

#: Of the matrix, by who is killed.
ROWS = {**dict.fromkeys(PUBLISHER, 1), **dict.fromkeys(SUBSCRIBER, 2)}
WITHOUT_OUTBOX = ["before the commit", *SUBSCRIBER]
EVERYTHING = "everything"
LATE = "were confirmed after their leases had ended"


def marked(points: Iterable[str]) -> list[Any]:
    """Each as a parameter, with the mark of its row."""
    return [pytest.param(point, marks=pytest.mark.fault(row=ROWS[point])) for point in points]


@pytest.mark.parametrize("point", marked(ROWS))
def test_on_rabbitmq_and_postgresql(rabbitmq_shop: Shop, broker_url: str, point: str) -> None:
    bind_queue(broker_url, EVERYTHING, "order.#")

    def run(random: Random) -> None:
        before = rabbitmq_shop.committed().keys()
        kill_at(point, rabbitmq_shop, random)
        events = rabbitmq_shop.committed().keys() - before
        see_few_copies(rabbitmq_shop, events, broker_url)

    repeat(f"rabbitmq and postgresql, {point}", rabbitmq_shop, run)


@pytest.mark.parametrize("point", marked(WITHOUT_OUTBOX))
def test_on_the_database_transport_and_postgresql(postgresql_shop: Shop, point: str) -> None:
    see_exactly_once("database transport, postgresql", postgresql_shop, point)


@pytest.mark.parametrize("point", marked(WITHOUT_OUTBOX))
def test_on_the_database_transport_and_sqlite(sqlite_shop: Shop, point: str) -> None:
    see_exactly_once("database transport, sqlite", sqlite_shop, point)


def see_exactly_once(where: str, shop: Shop, point: str) -> None:
    repeat(f"{where}, {point}", shop, partial(kill_at, point, shop))


def see_few_copies(shop: Shop, events: Set[str], broker_url: str) -> None:
    """See that each of these was sent, and that one kill cost each a copy at most."""
    sent = Counter(str(each.properties.message_id) for each in take_all(broker_url, EVERYTHING))
    assert sent.keys() == events
    # A process that was held up for longer than its lease may have had its events sent, too.
    most = 2 + shop.consoles().count(LATE)
    assert max(sent.values(), default=0) <= most, shop.story()
