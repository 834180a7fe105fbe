"""The machines bite: each fault that is put in is found, as what it is, within a few runs."""

from __future__ import annotations

import pytest

from . import mutants
from .core_machine import CoreMachine
from .exploring import FIRST_SEED, Explored, run_examples
from .ledger import Broken
from .mutants import Mutate
from .project_machine import ProjectMachine

pytestmark = pytest.mark.fault(row=25)


# By default the first one finds it. What is drawn from a seed is another thing with another release
# of Hypothesis.
MOST_RUNS = 10


def see_found(machine: type[Explored], verdict: str) -> None:
    with pytest.raises(Broken, match=verdict):
        run(machine)


def run(machine: type[Explored]) -> None:
    for seed in range(FIRST_SEED, FIRST_SEED + MOST_RUNS):
        run_examples(machine, seed, shrink=False)


class TestCore:
    @pytest.mark.parametrize(
        ("mutate", "verdict"),
        [
            (mutants.ack_first, "LOST"),
            (mutants.ack_before_storing, "LOST"),
            (mutants.discard_before_storing, "LOST"),
            (mutants.no_retries_counted, "COUNT"),
            (mutants.one_retry_too_many, "COUNT"),
            (mutants.crashes_count_as_attempts, "COUNT"),
            (mutants.no_crashes_counted, "COUNT"),
            (mutants.replays_without_a_new_beginning, "COUNT"),
        ],
    )
    def test_what_is_broken_is_found(
        self,
        core_machine: type[CoreMachine],
        mutate: Mutate,
        verdict: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        mutate(monkeypatch)
        see_found(core_machine, verdict)

    def test_a_missing_inbox_is_found(self, core_machine: type[CoreMachine]) -> None:
        core_machine.with_inbox = ()
        see_found(core_machine, "DOUBLE")


@pytest.mark.parametrize(
    ("mutate", "verdict"),
    [
        (mutants.ack_first, "LOST"),
        (mutants.ack_before_storing, "LOST"),
        (mutants.no_inbox, "DOUBLE"),
        (mutants.inbox_committed_first, "LOST"),
        (mutants.delete_before_the_confirm, "LOST"),
        (mutants.publish_before_the_commit, "SPURIOUS"),
        (mutants.discard_before_collecting, "LOST"),
        (mutants.no_crashes_counted, "COUNT"),
    ],
)
def test_what_is_broken_with_a_broker_is_found(
    outbox_machine: type[ProjectMachine],
    mutate: Mutate,
    verdict: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mutate(monkeypatch)
    see_found(outbox_machine, verdict)


@pytest.mark.parametrize(
    ("mutate", "verdict"),
    [
        (mutants.ack_first, "LOST"),
        (mutants.no_inbox, "DOUBLE"),
        (mutants.inbox_committed_first, "LOST"),
        (mutants.discard_before_collecting, "LOST"),
        (mutants.no_leases_counted, "COUNT"),
    ],
)
def test_what_is_broken_with_queues_in_tables_is_found(
    table_machine: type[ProjectMachine],
    mutate: Mutate,
    verdict: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mutate(monkeypatch)
    see_found(table_machine, verdict)
