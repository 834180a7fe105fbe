"""Relays that end with the block that uses them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from domain_event_broker.django import conf
from domain_event_broker.django.relaying import Relay
from domain_event_broker.django.stopping import StopSign
from tests.support.threads import start_thread

LIMIT_SECONDS = 30.0


@contextmanager
def a_relay(aliases: Sequence[str] | None = None, stop: StopSign | None = None) -> Iterator[Relay]:
    """A relay to the project's broker."""
    made = Relay(conf.required(), aliases, stop)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def running_relay() -> Iterator[None]:
    """A relay that runs beside the block."""
    stop = StopSign()
    with a_relay(stop=stop) as running:
        thread = start_thread(running.run)
        try:
            yield
        finally:
            stop.set()
            thread.join(LIMIT_SECONDS)
        assert not thread.is_alive()
