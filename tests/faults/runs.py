"""Several runs of a test, each from a seed that can be repeated.

`FAULT_RUNS` says how many; `FAULT_SEED` repeats one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random, SystemRandom

from .figures import figures_of
from .project import Shop

DEFAULT_RUNS = 2
SEEDS = 10**9


def repeat(title: str, shop: Shop, run: Callable[[Random], None]) -> None:
    """Make the runs, each of which leaves the shop settled; see what they came to, and print it."""

    def run_and_see(random: Random) -> None:
        run(random)
        shop.see_exactly_once()

    given = with_each_seed(title, run_and_see)
    print(f"{title}: runs {len(given)}, {figures_of(shop)}; seeds {' '.join(map(str, given))}")


def with_each_seed(
    title: str, run: Callable[[Random], None], default_runs: int = DEFAULT_RUNS
) -> list[int]:
    """Make the runs; return their seeds."""
    given = seeds(default_runs)
    for seed in given:
        try:
            run(Random(seed))
        except BaseException as error:
            error.add_note(f"{title}: FAULT_SEED={seed} repeats this run.")
            raise
    return given


def seeds(default_runs: int = DEFAULT_RUNS) -> list[int]:
    given = os.environ.get("FAULT_SEED")
    if given:
        return [int(given)]
    count = int(os.environ.get("FAULT_RUNS", default_runs))
    return [SystemRandom().randrange(SEEDS) for _ in range(count)]
