"""`make demo` as a whole: real processes, real HTTP requests, on a database and on RabbitMQ."""

from __future__ import annotations

import os
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

ON_THE_DATABASE: list[str] = []
ON_RABBITMQ = ["--rabbitmq"]
BOTH = [
    pytest.param(ON_THE_DATABASE, id="database"),
    pytest.param(ON_RABBITMQ, id="rabbitmq", marks=pytest.mark.broker),
]


@contextmanager
def demo(log: Path, arguments: list[str], broker: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """The demo, as a process that writes to `log` and is stopped at the end.

    Its temporary files are made beside `log`, except on RabbitMQ, whose user may not go there.
    """
    environment = {"BROKER": broker}
    if arguments != ON_RABBITMQ:
        environment["TMPDIR"] = str(log.parent)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "example_project.demo", *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(TIMEOUT_SECONDS)


@pytest.mark.parametrize("arguments", BOTH)
def test_the_demo_handles_all_that_it_publishes(arguments: list[str], tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    with demo(log, arguments) as process:
        status = process.wait(TIMEOUT_SECONDS)

    text = log.read_text()
    assert status == 0, text
    assert len(re.findall(r"201  published user\.registered", text)) == 3
    assert len(re.findall(r"201  published order\.placed", text)) == 3
    assert "402  The card was declined" in text
    assert "Neither has left a row." in text
    assert "handled by count_events, send_welcome_mail, write_audit_log" in text
    assert len(re.findall(r"\bwas handled before\.$", text, re.MULTILINE)) == 3
    assert "Mails that were sent: still 3." in text
    assert len(re.findall(r"comes back in 0\.5 s as retry [12]", text)) == 2
    assert "No warehouse is known for 'lamp'" in text
    assert re.search(r"^  reason +retries-exhausted$", text, re.MULTILINE)
    assert "1 replayed, 0 left" in text
    assert re.search(r"shop\.reserve_stock +3 +3 +0$", text, re.MULTILINE)
    assert text.splitlines()[-2:] == [
        "6 events were published, to be handled 18 times in all; they took effect 18 times.",
        "The audit log, which is bound to every event, has these and no others.",
    ]
    assert "\x1b" not in text
    assert "guest" not in text
    assert_nothing_is_left_but(log)


@pytest.mark.parametrize("arguments", BOTH)
def test_ctrl_c_stops_everything(arguments: list[str], tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    with demo(log, arguments) as process:
        wait_until(lambda: "POST /register/" in log.read_text(), TIMEOUT_SECONDS, log.read_text)
        children = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        status = process.wait(TIMEOUT_SECONDS)

    assert status == INTERRUPTED, log.read_text()
    assert "Traceback" not in log.read_text()
    # The web server and the subscriber; on RabbitMQ the broker and epmd, too.
    assert len(children) >= (4 if arguments == ON_RABBITMQ else 2)
    wait_until(lambda: not any(is_alive(child) for child in children))
    assert_nothing_is_left_but(log)


def test_a_broker_that_cannot_be_used_fails_the_demo(tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    with demo(log, ON_THE_DATABASE, broker="telegraph://somewhere") as process:
        status = process.wait(TIMEOUT_SECONDS)

    assert status == 1, log.read_text()
    assert "The demo failed: " in log.read_text()
    assert_nothing_is_left_but(log)


def assert_nothing_is_left_but(log: Path) -> None:
    assert list(log.parent.iterdir()) == [log]


def descendants(pid: int) -> set[int]:
    """The children of a process, their children, and so on."""
    found = set(children_of(pid))
    return found.union(*map(descendants, found))
