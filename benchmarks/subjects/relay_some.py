"""The relay while more waits than it is to send: batches, each with its claim and its deletion."""

from domain_event_broker.django import conf
from domain_event_broker.django.relaying import BATCH, Relay

from .clock import Stopwatch
from .output import tell


def main(batches: int) -> None:
    relay = Relay(conf.required())
    relay.sweep(BATCH)  # connects
    watch = Stopwatch()
    relayed = relay.sweep(BATCH * batches)
    figures = watch.figures(relayed.sent)
    relay.close()
    assert relayed.sent == BATCH * batches, relayed
    tell(**figures)
