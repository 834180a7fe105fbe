"""Runs in which whoever collects or replays dead letters is killed, and others finish that."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from random import Random

from tests.support.waiting import wait_until

from .kills import draw
from .project import PATIENCE_SECONDS, Shop

#: Several of them, where there are as many dead letters as a plan makes.
BATCH = 4
COLLECTING = "before a dead letter leaves its queue"
#: The points of a replay, and how often it passes them: of so many dead letters, so many batches.
REPLAYING: dict[str, Callable[[int, int], int]] = {
    "before the commit": lambda letters, batches: batches,
    "after the commit": lambda letters, batches: batches,
    "while being confirmed": lambda letters, batches: letters,
    "before the rows are deleted": lambda letters, batches: batches,
}
COLLECTORS = (("run_subscriber",), ("replay_dead_letters", "--list"))


def kill_collector(shop: Shop, random: Random) -> None:
    """Kill who collects, with some rows written and their letters still in the queue."""
    before = len(shop.dead_letters())
    letters = make_dead_letters(shop, random)
    assert shop.broker.dead_letters() == letters
    nth = random.randint(1, letters)
    shop.do_killed(COLLECTING, nth, *random.choice(COLLECTORS))
    assert nth <= len(shop.dead_letters()) - before <= letters, shop.story()
    if random.random() < 0.5:
        # Before the letters of those rows are there again.
        shop.do("replay_dead_letters")
    collect_the_rest(shop)
    replay_and_settle(shop)
    # Each failure is one row, however often it was collected.
    assert len(shop.dead_letters()) - before == letters, shop.story()


def kill_replay(point: str, shop: Shop, random: Random) -> None:
    """Kill who replays, with some dead letters replayed, some not, and some in between."""
    before = len(shop.dead_letters())
    letters = make_dead_letters(shop, random, "--collect")
    assert len(shop.dead_letters()) - before == letters
    nth = random.randint(1, REPLAYING[point](letters, -(-letters // BATCH)))
    with shop.subscriber() if random.random() < 0.5 else nullcontext():
        shop.do_killed(point, nth, "replay_dead_letters")
    replay_and_settle(shop)
    assert len(shop.dead_letters()) - before == letters, shop.story()


def make_dead_letters(shop: Shop, random: Random, *options: str) -> int:
    """Carry out a plan whose events fail; return how many deliveries those were."""
    seed, _ = draw(random)
    shop.do("make_dead_letters", *options, "place_orders", seed, "--until-sent")
    letters = len(shop.verdict().lost)
    assert letters
    return letters


def collect_the_rest(shop: Shop) -> None:
    """Collect until nothing is left of what the killed one held, which comes back by and by."""

    def is_collected() -> bool:
        shop.do("replay_dead_letters", "--list")
        return shop.broker.dead_letters() == 0

    wait_until(is_collected, PATIENCE_SECONDS, shop.story)


def replay_and_settle(shop: Shop) -> None:
    """Replay what is left, and see that nothing is left to decide on when all has settled."""
    shop.do("replay_dead_letters")
    shop.settle()
    assert {each.state for each in shop.dead_letters()} == {"replayed"}, shop.story()
