"""An event that kills the process that handles it costs itself, and not its neighbours."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from domain_event_broker import DomainEvent, Subscriber, publish_domain_events
from domain_event_broker.names import dead_letter_queue
from tests.amqp.support import DeadLetter, wait_for_dead_letters, wait_until_empty
from tests.support.raw_amqp import ready_count

NEIGHBOURS = 20
DEFAULT_CRASH_ATTEMPTS = 5
# A kill loses at most the acknowledgement of the event before.
MOST_RUNS = 30


class Workers:
    """Starts one subscriber process after the other, until one ends by itself."""

    def __init__(self, url: str, ledger: Path, names: str, settings: dict[str, object]) -> None:
        self.killed = 0
        self._ledger = ledger
        self._command = [sys.executable, "-m", "tests.amqp.poisoned_process"]
        self._command += [url, str(ledger), json.dumps(settings), names]

    def run(self) -> None:
        while (status := subprocess.run(self._command, timeout=60, check=False).returncode) != 0:
            assert status == -signal.SIGKILL
            self.killed += 1
            assert self.killed <= MOST_RUNS

    def runs(self, name: str) -> Counter[int]:
        """How often the handler `name` was given which event."""
        lines = [line.split() for line in self._ledger.read_text().splitlines()]
        return Counter(int(number) for handler, number in lines if handler == name)


def declare(url: str, *names: str) -> None:
    """Have the handlers' queues collect events before anybody consumes."""
    subscriber = Subscriber(url)
    for name in names:
        subscriber.register(print, name, [f"{name}.*"])
    subscriber.disconnect()


def publish(url: str, name: str, count: int, *poisons: int) -> None:
    """Events numbered from 0, of which some kill."""
    events = [
        DomainEvent(f"{name}.event", {"number": n, **({"kills": True} if n in poisons else {})})
        for n in range(count)
    ]
    assert all(result.error is None for result in publish_domain_events(events, url))


def numbers(dead_letters: list[DeadLetter]) -> list[int]:
    return [DomainEvent.from_json(d.raw.body).data["number"] for d in dead_letters]


@pytest.mark.parametrize("place", [0, NEIGHBOURS // 2, NEIGHBOURS])
def test_it_is_dead_lettered_after_its_attempts_and_its_neighbours_are_handled(
    broker_url: str, tmp_path: Path, place: int
) -> None:
    declare(broker_url, "prone")
    publish(broker_url, "prone", NEIGHBOURS + 1, place)
    workers = Workers(broker_url, tmp_path / "ledger", "prone", {})
    workers.run()
    (dead_letter,) = dead_letters = wait_for_dead_letters(broker_url, "prone")
    assert numbers(dead_letters) == [place]
    assert dead_letter.reason == "crashed"
    assert dead_letter.error_type == "domain_event_broker.handling.CrashedRepeatedly"
    assert "5 deliveries ended without an outcome" in dead_letter.error_message
    runs = workers.runs("prone")
    assert runs.pop(place) == workers.killed == DEFAULT_CRASH_ATTEMPTS
    assert set(runs) == set(range(NEIGHBOURS + 1)) - {place}
    wait_until_empty(broker_url, "prone")


@pytest.mark.parametrize("attempts", [1, 2])
def test_the_setting_says_after_how_many_attempts(
    broker_url: str, tmp_path: Path, attempts: int
) -> None:
    declare(broker_url, "prone")
    publish(broker_url, "prone", 3, 1)
    workers = Workers(broker_url, tmp_path / "ledger", "prone", {"CRASH_ATTEMPTS": attempts})
    workers.run()
    assert numbers(wait_for_dead_letters(broker_url, "prone")) == [1]
    assert workers.runs("prone")[1] == workers.killed == attempts
    assert workers.runs("prone").keys() == {0, 1, 2}


def test_several_cost_themselves_only(broker_url: str, tmp_path: Path) -> None:
    declare(broker_url, "prone")
    publish(broker_url, "prone", NEIGHBOURS, 3, 4, 15)
    workers = Workers(broker_url, tmp_path / "ledger", "prone", {"CRASH_ATTEMPTS": 2})
    workers.run()
    assert numbers(wait_for_dead_letters(broker_url, "prone", 3)) == [3, 4, 15]
    # Not twice each: the later ones were in the buffer when the first one struck first.
    assert workers.killed == 4
    assert workers.runs("prone").keys() == set(range(NEIGHBOURS))


def test_the_events_of_other_handlers_in_its_process_are_handled(
    broker_url: str, tmp_path: Path
) -> None:
    names = ["before", "prone", "beside", "behind"]
    declare(broker_url, *names)
    publish(broker_url, "prone", 5, 0, 2)
    for name in names:
        if name != "prone":
            publish(broker_url, name, NEIGHBOURS)
    workers = Workers(broker_url, tmp_path / "ledger", ",".join(names), {})
    workers.run()
    assert numbers(wait_for_dead_letters(broker_url, "prone", 2)) == [0, 2]
    for name in names:
        expected = 5 if name == "prone" else NEIGHBOURS
        assert workers.runs(name).keys() == set(range(expected))
        assert ready_count(broker_url, dead_letter_queue(name)) == 0
