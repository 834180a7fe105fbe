"""What a scenario is given: servers, interpreters and the number of rounds."""

from __future__ import annotations

import sys
from functools import cached_property
from pathlib import Path
from typing import Any

from .peers import peer_python
from .processes import Answer, Subject
from .projects import Project
from .servers import Servers


class Bench:
    """Starts subjects. With `growth`, benchmarks that take minutes are wanted, too."""

    def __init__(self, servers: Servers, rounds: int, *, growth: bool = False) -> None:
        self.servers = servers
        self.rounds = rounds
        self.growth = growth

    def start(self, subject: str, project: Project, **parameters: Any) -> Subject:
        """Start a subject with the project's settings, in the interpreter that has its apps."""
        python = self._peer_python if project.is_peers else Path(sys.executable)
        return Subject(subject, python, project.settings, parameters)

    def run(self, subject: str, project: Project, **parameters: Any) -> Answer:
        """Run a subject to its end; return its only answer. Raises `SubjectFailed`."""
        with self.start(subject, project, **parameters) as running:
            return running.answer()

    @cached_property
    def _peer_python(self) -> Path:
        return peer_python()
