"""The connection to PostgreSQL breaks at a COMMIT: nobody is told whether there was one."""

from __future__ import annotations

import signal
from functools import partial
from random import Random

import pytest

from tests.support.proxy import TO_CLIENT, TO_SERVER, proxy_before

from .databases import Postgresql
from .figures import figures_of
from .plans import drawn
from .project import Shop, events_in
from .runs import SEEDS, with_each_seed

pytestmark = [pytest.mark.fault(row=8), pytest.mark.fault(row=21)]


@pytest.mark.parametrize("is_committed", [True, False], ids=["its answer", "itself"])
def test_the_commit_is_lost_or_its_answer(
    rabbitmq_shop: Shop, postgresql_url: str, is_committed: bool
) -> None:
    title = "answer to a COMMIT lost" if is_committed else "COMMIT lost"
    run = partial(lose, rabbitmq_shop, postgresql_url, is_committed)
    with_each_seed(title, run, default_runs=1)
    print(f"{title}: {figures_of(rabbitmq_shop)}")


def plan_that_tells(random: Random) -> int:
    """The seed of one whose first commit is of something: else, nobody could see if it happened."""
    while True:
        seed = random.randrange(SEEDS)
        waves = drawn(seed).waves
        if next(each.kept for wave in waves for each in wave if each.commits):
            return seed


def lose(shop: Shop, postgresql_url: str, is_committed: bool, random: Random) -> None:
    """Break a publisher's connection at its first commit; it goes on with what follows."""
    seed = str(plan_that_tells(random))
    untold = shop.committed().keys() - events_in(shop.ledgers.commits)
    with proxy_before(postgresql_url) as proxy:
        shop.set(DATABASES={"default": Postgresql(proxy.url_for(postgresql_url)).setting})
        orders = ("place_orders", seed, "--through-outages", "--until-sent")
        process = shop.begin_stopped("before the commit", 1, *orders)
        shop.set(DATABASES={"default": shop.database.setting})
        (link,) = proxy.links_with(b"orders_order")
        link.after(0, TO_CLIENT if is_committed else TO_SERVER, link.reset)
        process.signal(signal.SIGCONT)
        assert process.wait() == 0, process.output
        assert not link.is_open

    now_untold = shop.committed().keys() - events_in(shop.ledgers.commits)
    assert bool(now_untold - untold) is is_committed
    shop.settle()
    shop.see_exactly_once()
