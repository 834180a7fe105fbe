"""Running a state machine: so many examples from a seed, which is printed.

The first seed is always the same, so that a run finds what the last one found. `FAULT_RUNS=n` adds
others, each with as many examples, and `FAULT_SEED=s` repeats one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from ..runs import seeds

FIRST_SEED = 25
STEPS = 40


class Explored(Protocol):
    """A machine that says how many examples are enough by default."""

    examples: int


def explore(title: str, machine: type[Explored]) -> None:
    """Run the examples; the least of those that fail is told, and its error raised."""
    given = _seeds()
    for each in given:
        try:
            run_examples(machine, each)
        except BaseException as error:
            error.add_note(f"{title}: FAULT_SEED={each} repeats this run.")
            raise
    print(f"{title}: runs {len(given)} of {machine.examples} examples; seeds {_told(given)}")


def run_examples(machine: type[Explored], number: int, *, shrink: bool = True) -> None:
    """Run the examples of one seed; without `shrink`, the first that fails is raised as it is."""
    chosen = settings(
        max_examples=machine.examples,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
        report_multiple_bugs=False,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    seeded: Any = seed(number)(type(machine.__name__, (machine,), {}))
    with _without_logs():
        run_state_machine_as_test(seeded, settings=chosen)


def _seeds() -> list[int]:
    drawn = seeds(default_runs=1)
    return drawn if os.environ.get("FAULT_SEED") else [FIRST_SEED, *drawn[1:]]


def _told(numbers: list[int]) -> str:
    return " ".join(map(str, numbers))


@contextmanager
def _without_logs() -> Iterator[None]:
    """Thousands of failures are logged with their tracebacks, which takes most of the time."""
    logging.disable()
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
