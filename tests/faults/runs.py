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
    given = seeds()
    for seed in given:
        try:
            run(Random(seed))
            shop.see_exactly_once()
        except BaseException as error:
            error.add_note(f"{title}: FAULT_SEED={seed} repeats this run.")
            raise
    print(f"{title}: runs {len(given)}, {figures_of(shop)}; seeds {' '.join(map(str, given))}")


def seeds() -> list[int]:
    given = os.environ.get("FAULT_SEED")
    if given:
        return [int(given)]
    count = int(os.environ.get("FAULT_RUNS", DEFAULT_RUNS))
    return [SystemRandom().randrange(SEEDS) for _ in range(count)]
