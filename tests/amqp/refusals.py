"""What is told while the broker refuses: how often, and after which pauses it is asked again."""

from __future__ import annotations

import logging
import re

import pytest

from tests.amqp.support import wait_for_subscribers
from tests.support.rabbitmq import RabbitmqNode
from tests.support.waiting import wait_until

PATIENCE_SECONDS = 30.0
PLANNED = re.compile(r"(?:again|connecting to \S+) in ([0-9.]+) s")
#: A line tells a pause rounded to a tenth.
ROUNDING_SECONDS = 0.06

#: Short, so that a test sees many attempts; doubling, as always.
QUICK = {"RECONNECT_DELAY": 0.1, "MAX_RECONNECT_DELAY": 1.6}


def cut_off(node: RabbitmqNode, vhost: str, publishers: int = 0) -> None:
    """Close all connections, once the broker lists the subscriber's and those of publishers."""
    wait_for_subscribers(node, vhost)
    wait_until(lambda: len(node.connections(vhost)) > publishers, PATIENCE_SECONDS)
    node.close_connections(vhost)


def errors_told(caplog: pytest.LogCaptureFixture, words: str) -> int:
    """How many lines of level error hold these words."""
    records = [record for record in caplog.records if record.levelno >= logging.ERROR]
    return sum(words in record.getMessage() for record in records)


def told(caplog: pytest.LogCaptureFixture, words: str) -> bool:
    return any(words in record.getMessage() for record in caplog.records)


def planned_seconds(caplog: pytest.LogCaptureFixture, words: str = "") -> list[float]:
    """The pauses before further attempts, as they were planned; of lines with these words."""
    lines = [record.getMessage() for record in caplog.records]
    found = [PLANNED.search(line) for line in lines if words in line]
    return [float(match[1]) for match in found if match]


def see_patience(caplog: pytest.LogCaptureFixture, attempts: int, words: str = "") -> None:
    """Wait for so many further attempts, and see that their pauses grow up to the longest."""
    caplog.set_level(logging.INFO, "domain_event_broker")
    wait_until(
        lambda: len(planned_seconds(caplog, words)) >= attempts,
        PATIENCE_SECONDS,
        lambda: f"planned: {planned_seconds(caplog, words)}",
    )
    base, longest = QUICK["RECONNECT_DELAY"], QUICK["MAX_RECONNECT_DELAY"]
    for number, seconds in enumerate(planned_seconds(caplog, words)[:attempts]):
        # Up to a half is left off at random.
        assert seconds >= min(base * 2**number, longest) / 2 - ROUNDING_SECONDS
