"""Publishing in processes that exit, fork and die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from domain_event_broker import DomainEvent
from tests.amqp import publishing_process as scenarios
from tests.amqp.support import PATIENCE_SECONDS
from tests.support.processes import is_alive
from tests.support.rabbitmq import RabbitmqNode
from tests.support.raw_amqp import bind_queue, take_all
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
Process = subprocess.Popen[str]


@pytest.fixture
def url(broker_url: str) -> str:
    """A broker with a queue, `seen`, that gets every event."""
    bind_queue(broker_url, "seen", "#")
    return broker_url


@contextmanager
def running(scenario: Callable[[str], None], url: str) -> Iterator[Process]:
    # Python warns of forking beside threads; that this works here is what is tested.
    command = [sys.executable, "-W", "ignore::DeprecationWarning"]
    arguments = ["-m", scenarios.__name__, scenario.__name__, url]
    process = subprocess.Popen(
        [*command, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def run(scenario: Callable[[str], None], url: str) -> str:
    """Run a scenario to its good end, and return what it wrote."""
    with running(scenario, url) as process:
        output, errors = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0, errors
        assert errors == ""
    return output


def stored(url: str) -> Counter[tuple[int, int]]:
    """How many events there are of each child and number."""
    events = [DomainEvent.from_json(message.body).data for message in take_all(url, "seen")]
    return Counter((data["child"], data["n"]) for data in events)


def published(child: int, count: int) -> Counter[tuple[int, int]]:
    return Counter((child, number) for number in range(count))


def connections(rabbitmq: RabbitmqNode, vhost: str) -> list[str]:
    rows = rabbitmq.connections(vhost)
    return [row["name"] for row in rows if "publisher" in row.get("user_provided_name", "")]


def has_said_goodbye(rabbitmq: RabbitmqNode, vhost: str) -> bool:
    """Whether no connection to the vhost just ended without AMQP's closing words."""
    wait_until(lambda: not connections(rabbitmq, vhost), PATIENCE_SECONDS)
    log = rabbitmq.log_path.read_text(errors="replace")
    return f"'{vhost}'" not in log


def test_a_process_that_published_exits_cleanly(
    url: str, rabbitmq: RabbitmqNode, broker_vhost: str
) -> None:
    run(scenarios.exit_at_once, url)
    assert stored(url) == published(0, 3)
    assert has_said_goodbye(rabbitmq, broker_vhost)


def test_a_process_that_fails_exits_with_its_own_error(url: str) -> None:
    with running(scenarios.fail, url) as process:
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 1
    assert errors.endswith("RuntimeError: as scripts may\n")
    assert errors.count("Traceback") == 1
    assert stored(url) == published(0, 3)


def test_what_a_thread_publishes_while_the_process_ends_arrives(url: str) -> None:
    run(scenarios.publish_from_a_thread, url)
    assert stored(url) == published(0, 1) + published(0, 200)


def test_the_first_publish_of_a_process_may_come_too_late(url: str) -> None:
    """From Python 3.12 on, no thread can be started any more; what matters is that it is told."""
    answer = run(scenarios.begin_to_publish_when_all_ends, url)
    assert answer in ("closed\n", "published\n")
    assert stored(url) == published(0, int(answer == "published\n"))


@pytest.mark.fault(row=11)
def test_a_forked_child_leaves_the_connection_of_its_parent_alone(
    url: str, rabbitmq: RabbitmqNode, broker_vhost: str
) -> None:
    with running(scenarios.fork_and_publish, url) as process:
        assert next_line(process) == "published"
        (parents,) = wait_until(lambda: connections(rabbitmq, broker_vhost), PATIENCE_SECONDS)
        go_on(process)
        assert next_line(process) == "child-ended"
        wait_until(lambda: connections(rabbitmq, broker_vhost) == [parents], PATIENCE_SECONDS)
        _, errors = process.communicate("\n", PATIENCE_SECONDS)
        assert (process.returncode, errors) == (0, "")
    expected = published(0, 10) + published(0, 10) + published(0, 10) + published(1, 10)
    assert stored(url) == expected
    assert has_said_goodbye(rabbitmq, broker_vhost)


@pytest.mark.fault(row=11)
def test_children_of_multiprocessing_publish_beside_their_parent(url: str) -> None:
    run(scenarios.fork_by_multiprocessing, url)
    expected = published(0, 1) + published(0, 9) + published(0, 1)
    for child in (1, 2, 3):
        expected += published(child, 10)
    assert stored(url) == expected


@pytest.mark.fault(row=11)
def test_forking_while_threads_publish_disturbs_neither(url: str) -> None:
    run(scenarios.fork_beside_threads, url)
    events = stored(url)
    for child in range(1, 11):
        assert {n: events[child, n] for n in range(10)} == dict.fromkeys(range(10), 1)
    assert set(events) == {(0, 0)} | {(child, n) for child in range(1, 11) for n in range(10)}


@pytest.mark.fault(row=11)
def test_the_death_of_the_parent_is_noticed_though_a_child_lives(
    url: str, rabbitmq: RabbitmqNode, broker_vhost: str
) -> None:
    with running(scenarios.fork_and_linger, f"{url}?heartbeat=3600") as process:
        child = int(next_line(process))
        wait_until(lambda: connections(rabbitmq, broker_vhost), PATIENCE_SECONDS)
        os.kill(process.pid, signal.SIGKILL)
        # No heartbeat tells the broker, only the end of the connection does.
        wait_until(lambda: not connections(rabbitmq, broker_vhost), PATIENCE_SECONDS)
        assert is_alive(child)
        assert process.stdin is not None
        process.stdin.close()
        wait_until(lambda: not is_alive(child), PATIENCE_SECONDS)


def next_line(process: Process) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line, process.stderr.read() if process.stderr else ""
    return line


def go_on(process: Process) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
