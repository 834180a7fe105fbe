"""Many equal steps, in slices: between them, other subjects have their turn."""

import json
import sys
from collections.abc import Callable

from .clock import Stopwatch
from .output import tell

WARM_UP_STEPS = 100


class Slices:
    """Counts steps, and waits between slices. The first slice is the warm-up, and not told of.

    For each ``{"steps": n}`` of the input it lets pass so many, then tells what they took. `finish`
    waits for what goes on behind the steps; the time until then is ``finished_seconds``.
    """

    def __init__(self, finish: Callable[[], object] | None = None) -> None:
        self._finish = finish
        self._count = self._left = WARM_UP_STEPS
        self._is_warm = False
        self._watch = Stopwatch()

    def step(self) -> bool:
        """Note that a step is done; ``False`` once no more are wanted."""
        self._left -= 1
        if self._left:
            return True
        self._tell()
        return self._begin()

    def _tell(self) -> None:
        figures = self._watch.figures(self._count)
        if self._finish is not None:
            self._finish()
            figures["finished_seconds"] = self._watch.seconds
        if self._is_warm:
            tell(**figures)
        else:
            tell(ready=True)
        self._is_warm = True

    def _begin(self) -> bool:
        order = sys.stdin.readline()
        if not order:
            return False
        self._count = self._left = json.loads(order)["steps"]
        self._watch = Stopwatch()
        return True


def serve(step: Callable[[], object], finish: Callable[[], object] | None = None) -> None:
    """Do `step` as often as is wanted."""
    slices = Slices(finish)
    step()
    while slices.step():
        step()
