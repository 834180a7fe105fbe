"""When handlers were done, of the first event and the last: what comes before and after is not."""

import time

from .output import tell


class Handled:
    """By `time.monotonic`, which processes share, and in processor time of this one."""

    def __init__(self) -> None:
        self._times: list[tuple[float, float]] = []

    def note(self) -> int:
        """Note that a handler is done; return how many are."""
        self._times.append((time.monotonic(), time.process_time()))
        return len(self._times)

    def tell(self) -> None:
        if not self._times:
            tell(handled=0)
            return
        (first, first_cpu), (last, last_cpu) = min(self._times), max(self._times)
        tell(handled=len(self._times), first=first, last=last, cpu_seconds=last_cpu - first_cpu)
