"""Time and processor time of a number of equal steps."""

import time


class Stopwatch:
    """Runs from when it is made. Processor time is that of all threads of this process."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._began_cpu = time.process_time()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    def figures(self, count: int) -> dict[str, float]:
        """What `count` steps have taken until now."""
        cpu_seconds = time.process_time() - self._began_cpu
        return {"events": count, "seconds": self.seconds, "cpu_seconds": cpu_seconds}
