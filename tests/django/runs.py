"""A run of the registered handlers beside a test, and what it reports."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, Self

from domain_event_broker.django import conf
from domain_event_broker.django.registry import registry
from domain_event_broker.django.running import HandlerRun, Limits
from domain_event_broker.handling import Ending, Report
from tests.support.threads import start_thread

LIMIT_SECONDS = 30.0


class Run:
    """Handles events as long as the block runs; arguments are `Limits`'."""

    def __init__(self, **limits: Any) -> None:
        self.reports: list[Report] = []
        self._is_ready = threading.Event()
        self._run = HandlerRun(
            registry.handlers(),
            conf.required(),
            Limits(**limits),
            on_ready=self._is_ready.set,
            on_report=self.reports.append,
        )

    @property
    def endings(self) -> list[Ending]:
        return [report.ending for report in self.reports]

    def stop(self) -> None:
        self._run.stop()

    def wait(self) -> None:
        """Wait until it has ended."""
        self._thread.join(LIMIT_SECONDS)
        assert not self._thread.is_alive(), "the run did not end"

    def __enter__(self) -> Self:
        self._thread = start_thread(self._run.run)
        assert self._is_ready.wait(LIMIT_SECONDS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        self.wait()
