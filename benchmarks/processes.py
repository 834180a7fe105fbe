"""Starting subjects: a process each, told its job by a line of JSON, answering by others."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from threading import Timer
from types import TracebackType
from typing import Any, Self

from tests.support.processes import dying_with_us

PROJECT = Path(__file__).resolve().parent.parent
TIMEOUT_SECONDS = 900.0

Answer = dict[str, Any]


class SubjectFailed(Exception):
    """A subject ended without an answer; what it says of that stands on the standard error."""


class Subject:
    """A running subject, which is killed at the end of the context if it has not ended.

    Without settings it has no Django; `alone`, it cannot import what else is in this project.
    """

    def __init__(
        self,
        name: str,
        python: Path,
        settings: Mapping[str, Any] | None,
        parameters: Mapping[str, Any],
        *,
        alone: bool = False,
    ) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [*dying_with_us(), str(python), "-m", "benchmarks.subjects", name],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Its own session, so that Ctrl-C reaches the harness alone, which then ends it.
            start_new_session=True,
        )
        self._timer = Timer(TIMEOUT_SECONDS, self._process.kill)
        self._timer.daemon = True
        self._timer.start()
        self.tell(settings=settings, parameters=parameters, alone=alone)

    def tell(self, **values: Any) -> None:
        """Send one line."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps(values)}\n")
        self._process.stdin.flush()

    def answer(self) -> Answer:
        """Wait for one line. Raises `SubjectFailed` if the subject ends instead."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SubjectFailed(f"{self.name} ended with status {self._process.wait()}.")
        answer: Answer = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end(in_peace=error is None)

    def _end(self, *, in_peace: bool) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
            if in_peace and self._process.wait() != 0:
                raise SubjectFailed(f"{self.name} ended with status {self._process.returncode}.")
        finally:
            self._timer.cancel()
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()
