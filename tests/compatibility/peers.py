"""Running 3.0.2 as the other side: real processes, real broker."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Self

from tests.support.waiting import wait_until

RUN_SECONDS = 60.0
Row = dict[str, Any]


class Peer:
    """What a service that still runs 3.0.2 can do."""

    def __init__(self, python: Path) -> None:
        self._python = python

    def publish(self, url: str, *events: Row) -> list[Row]:
        """Publish, given the arguments of `publish_domain_event`; return the events' fields."""
        published: list[Row] = self.run("peer_publisher.py", url, json.dumps(events))
        return published

    def replay(self, url: str, queue: str, action: str = "retry") -> Row:
        """Call `replay_event`; return what it returned, and what its callback saw."""
        replayed: Row = self.run("peer_replayer.py", url, queue, action)
        return replayed

    def worker(self, url: str, *handlers: Row) -> PeerWorker:
        """Return a worker for handlers that are given as arguments of `Subscriber.register`."""
        return PeerWorker(self._command("peer_worker.py", url, json.dumps(handlers)))

    def run(self, script: str, *arguments: str) -> Any:
        finished = subprocess.run(
            self._command(script, *arguments),
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        return json.loads(finished.stdout)

    def _command(self, script: str, *arguments: str) -> list[str]:
        # -I: nothing of this project, nor of the environment, is imported by accident.
        return [str(self._python), "-I", str(Path(__file__).parent / script), *arguments]


class PeerWorker:
    """A 3.0.2 worker process; as a context manager, it consumes when the block begins."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._lines: list[Row] = []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        self._reader = Thread(target=self._read)
        self._reader.start()
        try:
            wait_until(lambda: self._lines or self._has_ended, RUN_SECONDS)
            assert self._lines, "the worker ended before it consumed"
        except BaseException:
            self._process.kill()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def received(self, handler: str | None = None) -> list[Row]:
        """Return what its handlers (or one) were given so far: handler, retries and event."""
        rows = self._lines[1:]
        return [row for row in rows if handler is None or row["handler"] == handler]

    def wait_for(self, count: int) -> list[Row]:
        """Wait until its handlers were given `count` events in all."""
        wait_until(lambda: len(self.received()) >= count, message=lambda: f"{self.received()}")
        return self.received()

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def _has_ended(self) -> bool:
        return self._process.poll() is not None

    def stop(self) -> None:
        """Interrupt it, as its operator would."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(RUN_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        finally:
            self._reader.join(RUN_SECONDS)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.append(json.loads(line))
