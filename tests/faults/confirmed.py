"""What a process was told is confirmed, beside what the broker has."""

from __future__ import annotations

import subprocess
import sys

from tests.support.raw_amqp import bind_queue, take_all

from .interrupted_publisher import HEARD
from .project import PATIENCE_SECONDS, ROOT

SEEN = "seen"


def see_confirmed_stored(url: str, module: str, *arguments: str) -> int:
    """Run a module that writes the ids of confirmed events; see that they are all in a queue.

    Return how many those are.
    """
    bind_queue(url, SEEN, HEARD)
    process = subprocess.run(
        [sys.executable, "-W", "error", "-m", module, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    confirmed = set(process.stdout.split())
    stored = [str(message.properties.message_id) for message in take_all(url, SEEN)]
    assert confirmed <= set(stored)
    assert confirmed
    return len(confirmed)
