"""What processes that handle events tell together."""

from __future__ import annotations

from collections.abc import Sequence

from .processes import Answer, SubjectFailed
from .rounds import Figures


def handled_rates(answers: Sequence[Answer], count: int) -> Figures:
    """From the first event that was handled to the last, in whichever process.

    Raises `SubjectFailed` unless that were so many.
    """
    working = [answer for answer in answers if answer["handled"]]
    if sum(answer["handled"] for answer in working) != count:
        raise SubjectFailed(f"Of {count} events some were handled never or twice: {answers}")
    first, last = min(each["first"] for each in working), max(each["last"] for each in working)
    cpu_seconds = sum(each["cpu_seconds"] for each in working)
    return {
        "per_second": (count - 1) / (last - first),
        "cpu_us": cpu_seconds / (count - len(working)) * 1e6,
    }
