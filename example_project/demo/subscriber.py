"""``manage.py run_subscriber`` as the demo sees it: a process that writes a line for each event."""

from __future__ import annotations

from collections.abc import Collection

from tests.support.waiting import wait_until

from .evidence import Published
from .processes import DemoError, Server
from .stage import Stage

COMMAND = "manage.py run_subscriber --verbosity 2"
HANDLING_TIMEOUT_SECONDS = 30
# What it writes of an event, and of a copy of one.
HANDLED = "was handled."
HANDLED_BEFORE = "was handled before."


class Subscriber:
    """The process that runs all handlers; ready when it is made."""

    def __init__(self, stage: Stage, **environment: str) -> None:
        self._server: Server = stage.serve(COMMAND, **environment)
        self._server.wait_for(r"(?m)^Ready")

    def wait_for(self, event: Published, ending: str, handlers: Collection[str]) -> None:
        """Wait until it has written that the event ended so, for each of the handlers."""
        wait_until(
            lambda: self._handlers_that_ended(event, ending) >= set(handlers),
            HANDLING_TIMEOUT_SECONDS,
            f"{event.routing_key} {event.event_id}: not all of {sorted(handlers)} said {ending!r}",
        )

    def lines_of(self, event: Published, *, handler: str = "", ending: str = "") -> list[str]:
        """What it wrote of an event, with the event's id shortened."""
        return [
            line.replace(event.event_id, event.short_id)
            for line in self._server.lines_with(event.event_id)
            if line.startswith(handler) and line.endswith(ending)
        ]

    def stop(self) -> None:
        """Stop it gracefully: the running handler ends, and what waits stays on the broker."""
        status = self._server.stop()
        if status != 0:
            raise DemoError(f"`{COMMAND}` ended with status {status}.")

    def _handlers_that_ended(self, event: Published, ending: str) -> set[str]:
        return {line.partition(":")[0] for line in self.lines_of(event, ending=ending)}
