"""The benchmarks, by name: each measures, and returns the sections that it found."""

from collections.abc import Callable

from ..bench import Bench
from ..sections import Section
from . import (
    batches,
    consume,
    deliver,
    footprint,
    growth,
    handler_latency,
    inbox,
    latency,
    outage,
    processes,
    publish,
    relay,
    replay,
    roundtrip,
    send,
)

SCENARIOS: dict[str, Callable[[Bench], list[Section]]] = {
    "send": send.measure,
    "batches": batches.measure,
    "publish": publish.measure,
    "relay": relay.measure,
    "deliver": deliver.measure,
    "consume": consume.measure,
    "inbox": inbox.measure,
    "processes": processes.measure,
    "latency": latency.measure,
    "handler-latency": handler_latency.measure,
    "outage": outage.measure,
    "replay": replay.measure,
    "roundtrip": roundtrip.measure,
    "footprint": footprint.measure,
    "growth": growth.measure,
}

#: Those that take long, and tell more than a ratio: one round of them, unless more are asked for.
LONG = ("batches", "latency", "outage", "replay", "roundtrip", "growth")
#: Those for a first impression, and those that have rows which take minutes.
QUICK = ("send", "publish", "relay", "consume")
GROWING = ("relay", "footprint", "growth")
