"""``replay_dead_letters`` of all that is in the table: until the handler's queue has it."""

from io import StringIO

from django.core.management import call_command

from domain_event_broker.django.models import DeadLetter, OutboxEvent

from .clock import Stopwatch
from .event import HANDLER
from .memory import MemoryWatch
from .output import tell


def main(count: int) -> None:
    memory, watch = MemoryWatch(), Stopwatch()
    call_command("replay_dead_letters", HANDLER, stdout=StringIO())
    figures = watch.figures(count)
    assert DeadLetter.objects.filter(state=DeadLetter.State.REPLAYED).count() == count
    assert not OutboxEvent.objects.exists()
    tell(**figures, **memory.figures())
