"""``place_steadily RATE``: so many events a second, until asked to stop; then figures."""

from __future__ import annotations

import itertools
import json
import signal
import time
from threading import Event
from typing import Any
from uuid import uuid4

from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction

from domain_event_broker import DomainEvent, publish_domain_events
from domain_event_broker.django import background
from domain_event_broker.django.signals import event_published

from ....plans import HANDLERS_OF
from ....steady import Latencies
from ...configuration import project
from ...models import Order

FLUSH_SECONDS = 60.0


class Command(BaseCommand):
    help = "Publishes at a steady rate until SIGTERM; tells how long it took, as JSON."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("rate", type=float, help="Events a second.")
        parser.add_argument("--batch", type=int, default=5, help="Events in a transaction.")
        parser.add_argument("--keys", nargs="+", default=list(HANDLERS_OF))

    def handle(self, *args: Any, **options: Any) -> None:
        self._is_over = Event()
        signal.signal(signal.SIGTERM, lambda *args: self._is_over.set())
        self._commits, self._confirms = Latencies(), Latencies()
        # When each event that is not confirmed was committed.
        self._unconfirmed: dict[str, float] = {}
        self._keys = itertools.cycle(options["keys"])
        event_published.connect(self._on_published)
        self.stdout.write("Placing.")
        self.stdout.flush()
        self._place(options["batch"], options["batch"] / options["rate"])
        background.publisher.flush(FLUSH_SECONDS)
        figures = {
            "commits": self._commits.told(),
            "confirms": self._confirms.told(),
            "unconfirmed": len(self._unconfirmed),
        }
        self.stdout.write(json.dumps(figures))

    def _place(self, batch: int, interval_seconds: float) -> None:
        next_at = time.monotonic()
        while not self._is_over.wait(max(next_at - time.monotonic(), 0)):
            # A machine that was busy is not to be flooded for it.
            next_at = max(next_at + interval_seconds, time.monotonic() - interval_seconds)
            began_at = time.monotonic()
            self._place_batch({str(uuid4()): next(self._keys) for _ in range(batch)})
            self._commits.add(time.monotonic() - began_at)

    def _place_batch(self, keys: dict[str, str]) -> None:
        project.LEDGERS.attempts.write(events=list(keys))
        with transaction.atomic():
            Order.objects.bulk_create(Order(event_id=i, routing_key=key) for i, key in keys.items())
            publish_domain_events([DomainEvent(key, {}, uuid_string=i) for i, key in keys.items()])
            self._unconfirmed.update(dict.fromkeys(keys, time.monotonic()))
        project.LEDGERS.commits.write(events=list(keys))

    def _on_published(self, event_id: str, **kwargs: Any) -> None:
        committed_at = self._unconfirmed.pop(event_id, None)
        if committed_at is not None:
            self._confirms.add(time.monotonic() - committed_at)
