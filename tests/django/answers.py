"""A person at the terminal, who answers what a command asks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

#: Answer so to the questions that follow, one after the other; then nobody is there any more.
Answer = Callable[..., list[str]]


def answering(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """Have `input` return these, one each time; the questions are in what this returns."""
    questions: list[str] = []
    waiting = iter(answers)

    def ask(question: str = "") -> str:
        questions.append(question)
        for answer in waiting:
            return answer
        raise EOFError

    monkeypatch.setattr("builtins.input", ask)
    return questions
