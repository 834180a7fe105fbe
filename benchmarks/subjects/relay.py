"""One sweep of the relay: from the backlog's first claim until its last row is deleted."""

from domain_event_broker.django import conf
from domain_event_broker.django.relaying import Relay

from .clock import Stopwatch
from .output import tell


def main(count: int) -> None:
    relay = Relay(conf.required())
    watch = Stopwatch()
    relayed = relay.sweep()
    figures = watch.figures(count)
    relay.close()
    assert relayed.sent == count, relayed
    tell(**figures)
