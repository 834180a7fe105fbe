"""Steps at a steady rate."""

import time
from collections.abc import Callable


def at_rate(step: Callable[[int], object], count: int, per_second: float) -> list[float]:
    """Do each numbered step when its time has come; return, by the wall clock, when each ended.

    A step that comes late delays none of those after it.
    """
    ended: list[float] = []
    began = time.monotonic()
    for number in range(count):
        time.sleep(max(began + number / per_second - time.monotonic(), 0.0))
        step(number)
        ended.append(time.time())
    return ended
