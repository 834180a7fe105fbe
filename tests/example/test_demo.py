"""`make demo` as a whole: a real broker, real processes, real HTTP requests."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.processes import children_of, is_alive
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 150
INTERRUPTED = 130

pytestmark = pytest.mark.broker


@contextmanager
def demo(log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The demo, as a process that writes to `log` and is stopped at the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "example_project.demo"],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(TIMEOUT_SECONDS)


def test_the_demo_handles_all_that_it_publishes(tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    with demo(log) as process:
        status = process.wait(TIMEOUT_SECONDS)

    text = log.read_text()
    assert status == 0, text
    assert len(re.findall(r"201  published user\.registered", text)) == 3
    assert len(re.findall(r"201  published order\.placed", text)) == 3
    assert "402  The card was declined" in text
    assert "handled by count_events, send_welcome_mail, write_audit_log" in text
    assert len(re.findall(r"comes back in 0\.5 s as retry [12]", text)) == 2
    assert "No warehouse is known for 'lamp'" in text
    assert "reason   retries-exhausted" in text
    assert "1 replayed, 0 left" in text
    assert re.search(r"shop\.reserve_stock +3 +3 +0$", text, re.MULTILINE)
    assert text.splitlines()[-2:] == [
        "6 events were published, to be handled 18 times in all; they were handled 18 times.",
        "The audit log, which is bound to every event, has these and no others.",
    ]
    assert "\x1b" not in text
    assert "guest" not in text


def test_ctrl_c_stops_everything(tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    with demo(log) as process:
        wait_until(lambda: "POST /register/" in log.read_text(), 60, log.read_text)
        children = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        status = process.wait(TIMEOUT_SECONDS)

    assert status == INTERRUPTED, log.read_text()
    assert "Traceback" not in log.read_text()
    assert len(children) >= 4  # broker, epmd, web server, subscriber
    wait_until(lambda: not any(is_alive(child) for child in children))


def descendants(pid: int) -> set[int]:
    """The children of a process, their children, and so on."""
    found = set(children_of(pid))
    return found.union(*map(descendants, found))
