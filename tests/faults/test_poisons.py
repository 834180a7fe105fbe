"""An event that kills its handler's process ends in the table of dead letters; the others do not.

A supervisor starts the subscriber anew each time, as in production.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

import pytest

from tests.support.waiting import wait_until

from .kills import publish
from .oracle import Effect
from .project import PATIENCE_SECONDS, Process, Shop, see_killed
from .runs import repeat

pytestmark = pytest.mark.fault(row=17)

CRASH_ATTEMPTS = 3


def test_on_rabbitmq_and_postgresql(rabbitmq_shop: Shop) -> None:
    see_it_collected("rabbitmq and postgresql", rabbitmq_shop)


def test_on_the_database_transport_and_sqlite(sqlite_shop: Shop) -> None:
    see_it_collected("database transport, sqlite", sqlite_shop)


def see_it_collected(where: str, shop: Shop) -> None:
    shop.set_broker(CRASH_ATTEMPTS=CRASH_ATTEMPTS)
    repeat(f"{where}, poison", shop, partial(poison_one, shop))


def poison_one(shop: Shop, random: Random) -> None:
    """Have one handler be killed by one event until it is a dead letter; mend it, and replay."""
    before = len(shop.dead_letters())
    publish(shop, random, "--until-sent")
    poison = random.choice(sorted(shop.verdict().lost))
    shop.set(POISONS=[poison])

    kills = supervise(shop, lambda: len(shop.dead_letters()) > before and is_all_else_done(shop))
    (letter,) = shop.dead_letters()[before:]
    assert (letter.effect, letter.reason, letter.state) == (poison, "crashed", "waiting")
    assert kills == starts_of(shop, poison) == CRASH_ATTEMPTS
    assert shop.verdict().lost == {poison}, shop.story()

    shop.set(POISONS=[])
    shop.do("replay_dead_letters")
    shop.settle()
    assert [each.state for each in shop.dead_letters()[before:]] == ["replayed"]


def supervise(shop: Shop, is_over: Callable[[], bool]) -> int:
    """Run one subscriber after the other until then; return how many were killed."""
    kills = 0
    while not is_over_before(process := shop.begin("run_subscriber"), is_over, shop):
        see_killed(process)
        kills += 1
    process.stop()
    return kills


def is_over_before(process: Process, is_over: Callable[[], bool], shop: Shop) -> bool:
    """Wait until all is over, or else the process; tell whether all is."""
    wait_until(lambda: is_over() or not process.is_running, PATIENCE_SECONDS, shop.story)
    return process.is_running


def is_all_else_done(shop: Shop) -> bool:
    return len(shop.verdict().lost) == 1


def starts_of(shop: Shop, effect: Effect) -> int:
    started = [(fact["handler"], fact["event"]) for fact in shop.ledgers.starts.read()]
    return started.count(effect)
