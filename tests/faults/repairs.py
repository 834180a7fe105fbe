"""Runs in which whoever collects, replays or discards dead letters is killed, or has company."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import nullcontext
from random import Random
from typing import TypeVar

from tests.support.waiting import wait_until

from .kills import draw
from .project import PATIENCE_SECONDS, Shop

T = TypeVar("T")

#: Several of them, where there are as many dead letters as a plan makes.
BATCH = 4
DISCARDER = "somebody-else"
DISCARD = ("replay_dead_letters", "--discard", "--no-input")
COLLECTING = "before a dead letter leaves its queue"
#: The points of a replay, and how often it passes them: of so many dead letters, so many batches.
REPLAYING: dict[str, Callable[[int, int], int]] = {
    "before the commit": lambda letters, batches: batches,
    "after the commit": lambda letters, batches: batches,
    "while being confirmed": lambda letters, batches: letters,
    "before the rows are deleted": lambda letters, batches: batches,
}
#: The one of a discard: a batch is done with its commit.
DISCARDING = "before the commit"
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


def kill_discard(shop: Shop, random: Random) -> None:
    """Kill who discards, with some batches decided on; replay what is left."""
    before = len(shop.dead_letters())
    letters = make_dead_letters(shop, random, "--collect")
    nth = random.randint(1, -(-letters // BATCH))
    do_as(shop, DISCARDER, lambda: shop.do_killed(DISCARDING, nth, *DISCARD))
    decided = shop.dead_letters()[before:]
    assert [each.state for each in decided].count("discarded") == (nth - 1) * BATCH
    if random.random() < 0.5:
        do_as(shop, DISCARDER, lambda: shop.do(*DISCARD))
    see_settled_between_two(shop, before, letters)


def decide_at_once(shop: Shop, random: Random) -> None:
    """Have two operators decide on the same dead letters, one of whom may be killed."""
    before = len(shop.dead_letters())
    letters = make_dead_letters(shop, random, "--collect")
    nth = str(random.randint(1, -(-letters // BATCH)))
    dying = ["signalled", "SIGKILL", DISCARDING, nth]
    whose = random.choice([(dying, []), ([], dying), ([], [])])
    with shop.subscriber() if random.random() < 0.5 else nullcontext():
        replayer = shop.begin(*whose[0], "replay_dead_letters")
        discarder = do_as(shop, DISCARDER, lambda: shop.begin(*whose[1], *DISCARD))
        for process in (replayer, discarder):
            # It may have been left too little to come to the point.
            assert process.wait() in (0, -signal.SIGKILL), process.story()
    see_settled_between_two(shop, before, letters)


def see_settled_between_two(shop: Shop, before: int, letters: int) -> None:
    """Replay the rest; see that what was replayed had its effect, and what was discarded none."""
    shop.do("replay_dead_letters")
    shop.settle(is_loss_expected=True)
    decided = shop.dead_letters()
    assert len(decided) - before == letters, shop.story()
    assert {each.state for each in decided} <= {"replayed", "discarded"}, shop.story()
    see_audited(shop, {"replayed": shop.user, "discarded": DISCARDER})
    verdict = shop.verdict()
    assert verdict.lost == {each.effect for each in decided if each.state == "discarded"}
    assert not verdict.spurious
    assert not verdict.doubles


def see_audited(shop: Shop, users: dict[str, str]) -> None:
    """See that each decision was noted with who made it."""
    for each in shop.dead_letters():
        assert each.settled_by.startswith(f"{users[each.state]}@"), each


def do_as(shop: Shop, user: str, work: Callable[[], T]) -> T:
    """What `work` returns, whose processes are those of another user."""
    before, shop.user = shop.user, user
    try:
        return work()
    finally:
        shop.user = before


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
    see_audited(shop, {"replayed": shop.user})
