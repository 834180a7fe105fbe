"""A subscriber is killed between a retry, or a dead letter, and the ack of its original.

Both may come then: the effect is one, each copy has its own attempts right, and no more events come
again than the subscriber held.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import partial
from random import Random
from typing import Any

import pytest

from tests.support.waiting import wait_until

from .kills import draw, see_killed_while_handling
from .oracle import Effect
from .plans import HANDLERS
from .project import PATIENCE_SECONDS, Shop
from .runs import repeat

pytestmark = pytest.mark.fault(row=2)

PREFETCH = 5
RETRIES = 2
#: More than are allowed.
ALWAYS = 10
STORING = "before a move is stored"


class TestRetries:
    def test_on_rabbitmq_and_postgresql(self, rabbitmq_shop: Shop) -> None:
        self.see_attempts("rabbitmq and postgresql", rabbitmq_shop, "between a retry and its ack")

    def test_on_the_database_transport_and_postgresql(self, postgresql_shop: Shop) -> None:
        self.see_attempts("database transport, postgresql", postgresql_shop, STORING)

    def test_on_the_database_transport_and_sqlite(self, sqlite_shop: Shop) -> None:
        self.see_attempts("database transport, sqlite", sqlite_shop, STORING)

    def see_attempts(self, where: str, shop: Shop, point: str) -> None:
        shop.set(RETRIES=RETRIES, MAX_RETRIES=RETRIES)
        shop.set_broker(PREFETCH=PREFETCH)
        repeat(f"{where}, {point}", shop, partial(self.kill, shop, point))

    def kill(self, shop: Shop, point: str, random: Random) -> None:
        before = len(shop.ledgers.deliveries.read()), len(shop.ledgers.starts.read())
        seed, plan = draw(random)
        nth = random.randint(1, RETRIES * plan.deliveries)
        see_killed_while_handling(shop, random, point, nth, seed)
        shop.settle()

        deliveries = shop.ledgers.deliveries.read()[before[0] :]
        see_few_again(deliveries)
        attempts = attempts_of(shop.ledgers.starts.read()[before[1] :])
        assert set(attempts) == {effect_of(each) for each in deliveries}
        assert all(each == set(range(RETRIES + 1)) for each in attempts.values()), attempts


class TestDeadLetters:
    def test_on_rabbitmq_and_postgresql(self, rabbitmq_shop: Shop) -> None:
        point = "between a dead letter and its ack"
        self.see_attempts("rabbitmq and postgresql", rabbitmq_shop, point)

    def test_on_the_database_transport_and_postgresql(self, postgresql_shop: Shop) -> None:
        self.see_attempts("database transport, postgresql", postgresql_shop, STORING)

    def test_on_the_database_transport_and_sqlite(self, sqlite_shop: Shop) -> None:
        self.see_attempts("database transport, sqlite", sqlite_shop, STORING)

    def see_attempts(self, where: str, shop: Shop, point: str) -> None:
        shop.set(MAX_RETRIES=RETRIES)
        shop.set_broker(PREFETCH=PREFETCH)
        repeat(f"{where}, {point}, dead letters", shop, partial(self.kill, shop, point))

    def kill(self, shop: Shop, point: str, random: Random) -> None:
        before = len(shop.dead_letters()), len(shop.ledgers.deliveries.read())
        shop.set(RETRIES=ALWAYS)
        seed, plan = draw(random)
        nth = random.randint(1, plan.deliveries)
        see_killed_while_handling(shop, random, point, nth, seed)
        wanted = shop.verdict().lost
        assert len(wanted) == plan.deliveries

        def are_dead() -> bool:
            there = {each.effect for each in shop.dead_letters()[before[0] :]}
            return there == wanted and shop.broker.waiting() == 0

        with shop.subscriber():
            wait_until(are_dead, PATIENCE_SECONDS, shop.story)
        letters = shop.dead_letters()[before[0] :]
        assert {each.reason for each in letters} == {"retries-exhausted"}
        assert {each.attempts for each in letters} == {1 + RETRIES}
        see_few_again(shop.ledgers.deliveries.read()[before[1] :])

        shop.set(RETRIES=0)
        shop.do("replay_dead_letters")
        shop.settle()


def see_few_again(deliveries: Iterable[dict[str, Any]]) -> None:
    """See that of each handler no more events came again than one subscriber held."""
    counts = Counter((*effect_of(each), each["retries"]) for each in deliveries)
    again = {(handler, event) for (handler, event, _), count in counts.items() if count > 1}
    of_handlers = Counter(handler for handler, _ in again)
    assert max(of_handlers.values(), default=0) <= PREFETCH, again
    assert of_handlers.keys() <= set(HANDLERS)


def attempts_of(starts: Iterable[dict[str, Any]]) -> dict[Effect, set[int]]:
    attempts: dict[Effect, set[int]] = {}
    for each in starts:
        attempts.setdefault(effect_of(each), set()).add(each["retries"])
    return attempts


def effect_of(fact: dict[str, Any]) -> Effect:
    return fact["handler"], fact["event"]
