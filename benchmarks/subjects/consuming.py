"""What subjects that consume a backlog do before and after: it is made while they are connected."""

import sys

from .clock import Stopwatch
from .memory import peak_mib
from .output import tell

#: How many events a consumer may hold unacknowledged, with every client that can be told.
PREFETCH = 100


def begin() -> Stopwatch:
    """Tell that all is connected and declared; return when the backlog is there."""
    tell(ready=True)
    if not sys.stdin.readline():
        raise SystemExit
    return Stopwatch()


def end(watch: Stopwatch, count: int) -> None:
    """Tell what it took, now that the broker knows of each acknowledgement."""
    tell(**watch.figures(count), peak_mib=peak_mib())
