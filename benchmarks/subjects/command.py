"""``manage.py run_subscriber``, the command itself, until nothing waits.

Each of its processes tells how many events it handled and when; the one that only watches the
others tells of none, at the end.
"""

import time
from collections.abc import Callable
from io import StringIO
from typing import Any

from django.core.management import call_command

from domain_event_broker import DomainEvent
from domain_event_broker.django import domain_event_handler

from .event import BINDING_KEY, HANDLER
from .handled import Handled

BURN_SECONDS = 0.001
SLEEP_SECONDS = 0.005


def main(work: str, concurrency: int, options: dict[str, Any]) -> None:
    handled = Handled()

    def handle(event: DomainEvent) -> None:
        WORK[work]()
        handled.note()

    declare = domain_event_handler(BINDING_KEY, name=HANDLER, inbox=False, concurrency=concurrency)
    declare(handle)
    try:
        call_command("run_subscriber", drain=True, stdout=StringIO(), **options)
    finally:
        handled.tell()  # one of several processes exits from the command


def burn() -> None:
    """Use the processor for a millisecond, however long that takes beside others."""
    end = time.thread_time() + BURN_SECONDS
    while time.thread_time() < end:
        pass


def sleep() -> None:
    time.sleep(SLEEP_SECONDS)


WORK: dict[str, Callable[[], None]] = {"burn": burn, "sleep": sleep}
