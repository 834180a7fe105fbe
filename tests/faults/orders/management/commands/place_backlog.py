"""``place_backlog COUNT``: so many events in one transaction."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction

from domain_event_broker import DomainEvent, publish_domain_events

from ...configuration import project
from ...models import Order
from ...outbox import add_until_sent, wait_until_sent


class Command(BaseCommand):
    help = "Publishes so many events in one transaction."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("count", type=int)
        parser.add_argument("--key", default="order.one")
        add_until_sent(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        key = options["key"]
        ids = [str(uuid4()) for _ in range(options["count"])]
        project.LEDGERS.attempts.write(events=ids)
        with transaction.atomic():
            Order.objects.bulk_create(Order(event_id=each, routing_key=key) for each in ids)
            publish_domain_events([DomainEvent(key, {}, uuid_string=each) for each in ids])
        project.LEDGERS.commits.write(events=ids)
        if options["until_sent"]:
            wait_until_sent()
