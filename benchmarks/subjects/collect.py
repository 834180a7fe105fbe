"""What ``run_subscriber`` does with dead letters: from their queue into the table."""

from domain_event_broker.django import conf, dead_letters

from .clock import Stopwatch
from .event import HANDLER
from .memory import MemoryWatch
from .output import tell
from .tables import analyse_tables


def main(count: int) -> None:
    memory, watch = MemoryWatch(), Stopwatch()
    collected = dead_letters.collect(HANDLER, conf.required())
    figures = watch.figures(count)
    assert collected == count, collected
    tell(**figures, **memory.figures())
    analyse_tables()
