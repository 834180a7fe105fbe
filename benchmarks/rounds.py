"""Rounds: each subject once a round, so that what slows the machine slows all of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .processes import Answer, Subject

Figures = dict[str, float]
Measure = Callable[[], Figures]


@dataclass(frozen=True)
class Turns:
    """How many steps each subject does in a slice, and how many slices a round has."""

    steps: Mapping[str, int]
    slices: int


class Series:
    """The figures of some subjects, of the same rounds."""

    def __init__(self, rounds: Mapping[str, list[Figures]]) -> None:
        self.rounds = dict(rounds)

    def values(self, name: str, figure: str) -> list[float]:
        """One figure of one subject, of each round; empty where it has none such."""
        return [figures[figure] for figures in self.rounds[name] if figure in figures]

    def ratios(self, name: str, beside: str, figure: str) -> list[float]:
        """One figure of two subjects, divided in each round."""
        pairs = zip(self.rounds[name], self.rounds[beside], strict=True)
        return [ours[figure] / theirs[figure] for ours, theirs in pairs]


def interleaved(measures: Mapping[str, Measure], rounds: int) -> Series:
    """Measure each subject once a round; each round begins with another one."""
    found: dict[str, list[Figures]] = {name: [] for name in measures}
    for number in range(rounds):
        for name in turned(list(measures), number):
            found[name].append(measures[name]())
            say(f"  round {number + 1}: {name}: {shown(found[name][-1])}")
    return Series(found)


def sliced(subjects: Mapping[str, Subject], turns: Turns, rounds: int) -> Series:
    """Have the subjects take turns, `turns.slices` times a round.

    They run all the time, but one of them works at a time. What slows the machine for a second or
    two then slows all of them alike.
    """
    for subject in subjects.values():
        subject.answer()
    found: dict[str, list[Figures]] = {name: [] for name in subjects}
    for number in range(rounds):
        answers: dict[str, list[Answer]] = {name: [] for name in subjects}
        for turn in range(turns.slices):
            for name in turned(list(subjects), turn):
                subjects[name].tell(steps=turns.steps[name])
                answers[name].append(subjects[name].answer())
        for name in subjects:
            found[name].append(rates(added(answers[name])))
            say(f"  round {number + 1}: {name}: {shown(found[name][-1])}")
    return Series(found)


def added(answers: Sequence[Answer]) -> Answer:
    return {key: sum(answer[key] for answer in answers) for key in answers[0]}


def rates(answer: Answer) -> Figures:
    """Per second and per event, what a subject tells as totals."""
    events = answer["events"]
    figures = {
        "per_second": events / answer["seconds"],
        "cpu_us": answer["cpu_seconds"] / events * 1e6,
    }
    if "finished_seconds" in answer:
        figures["finished_per_second"] = events / answer["finished_seconds"]
    if "peak_mib" in answer:
        figures["peak_mib"] = answer["peak_mib"]
    return figures


def turned(names: list[str], number: int) -> list[str]:
    first = number % len(names)
    return names[first:] + names[:first]


def shown(figures: Figures) -> str:
    return ", ".join(f"{name} {value:,.4g}" for name, value in figures.items())


def say(text: str) -> None:
    """Tell whoever waits how far it is."""
    print(text, file=sys.stderr, flush=True)
