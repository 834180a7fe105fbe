"""The benchmarks, by name: each measures, and returns the sections that it found."""

from collections.abc import Callable

from ..bench import Bench
from ..sections import Section
from . import deliver, latency, outage, publish, relay, replay

SCENARIOS: dict[str, Callable[[Bench], list[Section]]] = {
    "publish": publish.measure,
    "relay": relay.measure,
    "deliver": deliver.measure,
    "latency": latency.measure,
    "outage": outage.measure,
    "replay": replay.measure,
}
