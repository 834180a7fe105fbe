"""``place_interrupted HOW SEED``: place orders, each broken off somewhere by an exception."""

from __future__ import annotations

from itertools import count
from random import Random
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from domain_event_broker.django import background

from ....interruptions import Alarm, interrupted_at
from ....plans import Transaction
from ...placing import place

FLUSH_SECONDS = 60.0
ALARMS = 100
#: Most orders take longer than the one, and less than the other.
LEAST_SECONDS, MOST_SECONDS = 0.0001, 0.03


class Command(BaseCommand):
    help = "Places orders that are broken off by an exception, as by a soft time limit."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("how", choices=["points", "alarms"])
        parser.add_argument("seed", type=int)

    def handle(self, *args: Any, **options: Any) -> None:
        place_one()
        interrupt = at_points if options["how"] == "points" else by_alarms
        interrupt(Random(options["seed"]))
        if not background.publisher.flush(FLUSH_SECONDS):
            raise CommandError("What was committed last is not sent.")


def at_points(random: Random) -> None:
    for nth in count(1):
        if random.random() < 0.5:
            background.publisher.close(FLUSH_SECONDS)  # the next one begins a thread
        with interrupted_at(nth) as interruption:
            place_one()
        if not interruption.has_raised:
            return
        see_next_sent(random)


def by_alarms(random: Random) -> None:
    alarm = Alarm()
    for _ in range(ALARMS):
        alarm.interrupt(place_one, random.uniform(LEAST_SECONDS, MOST_SECONDS))
        see_next_sent(random)


def place_one() -> None:
    place(Transaction(("order.one",)))


def see_next_sent(random: Random) -> None:
    """See that the process still publishes, whatever the exception broke off."""
    # Django's connection is in any state now; who raises exceptions from signals must know that.
    connections["default"].close()
    del connections["default"]
    place_one()
    # Not each time: rows are deleted together, a while after they were sent.
    if random.random() < 0.1 and not background.publisher.flush(FLUSH_SECONDS):
        raise CommandError("What was committed after an interruption is not sent.")
