"""What a scenario is given: servers, interpreters and the number of rounds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from .peers import peer_python
from .processes import Answer, Subject
from .projects import Project
from .servers import Servers

QUICK_DIVISOR = 5


class Bench:
    """Starts subjects.

    With `growth`, benchmarks that take minutes are wanted, too; if it is to be `quick`, fewer
    events do.
    """

    def __init__(
        self, servers: Servers, rounds: int, *, growth: bool = False, quick: bool = False
    ) -> None:
        self.servers = servers
        self.rounds = rounds
        self.growth = growth
        self._quick = quick

    def events(self, count: int) -> int:
        """How many events to take where `count` are right, unless it is to be quick."""
        return max(count // QUICK_DIVISOR, 1) if self._quick else count

    def start(
        self, subject: str, project: Project, *, peer: str | None = None, **parameters: Any
    ) -> Subject:
        """Start a subject with the project's settings.

        With a `peer`, or in a project that is one's, it is run by the interpreter that has it, and
        `domain_event_broker` is not ours there.
        """
        peer = peer or project.peer
        python = peer_python(peer) if peer else Path(sys.executable)
        return Subject(subject, python, project.settings, parameters, alone=peer is not None)

    def run(
        self, subject: str, project: Project, *, peer: str | None = None, **parameters: Any
    ) -> Answer:
        """Run a subject to its end; return its only answer. Raises `SubjectFailed`."""
        with self.start(subject, project, peer=peer, **parameters) as running:
            return running.answer()
