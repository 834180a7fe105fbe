"""``manage.py declare_queues``: declare what the handlers need, and end."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ....errors import DomainEventBrokerError
from ....subscribing import Subscriber
from ... import conf
from ...console import NORMAL, showing_warnings
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
        with showing_warnings(self.stderr, options["verbosity"]):
            try:
                self._run(options)
            except DomainEventBrokerError as error:
                raise CommandError(str(error)) from error

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
