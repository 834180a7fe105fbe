"""``manage.py declare_queues``: declare what the handlers need, and end."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from ....subscribing import Subscriber
from ... import conf
from ...console import NORMAL, telling_errors
from ...registry import registry
from ...selecting import choose_handlers
from ..arguments import add_handlers


class Command(BaseCommand):
    help = (
        "Declares and binds the queues of the registered handlers, or of those named, and handles "
        "nothing. For brokers where the service itself may not declare."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_handlers(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        with telling_errors(self.stderr, options["verbosity"]):
            self._run(options)

    def _run(self, options: dict[str, Any]) -> None:
        settings = conf.required()
        handlers = choose_handlers(registry, options["handlers"], [])
        subscriber = Subscriber(settings)
        try:
            for handler in handlers:
                handler.register_with(subscriber, handler.function)
        finally:
            subscriber.disconnect()
        if options["verbosity"] >= NORMAL:
            names = ", ".join(handler.name for handler in handlers)
            self.stdout.write(f"Declared on {settings.safe_url}: {names}.")
