"""What ``manage.py run_subscriber`` holds when its handler has been called so many times."""

from io import StringIO

from django.core.management import call_command

from domain_event_broker import DomainEvent
from domain_event_broker.django import domain_event_handler

from .event import BINDING_KEY, HANDLER
from .memory import held_mib
from .output import tell


def main(looks: list[int], inbox: bool) -> None:
    handled = 0

    def handle(event: DomainEvent) -> None:
        nonlocal handled
        handled += 1
        if handled in looks:
            tell(**held_mib())

    declare = domain_event_handler(BINDING_KEY, name=HANDLER, inbox=inbox)
    declare(handle)
    call_command("run_subscriber", max_events=max(looks), stdout=StringIO())
