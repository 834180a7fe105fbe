"""``manage.py run_subscriber`` as the demo sees it: a process that writes a line for each event."""

from __future__ import annotations

from collections.abc import Collection

from tests.support.waiting import wait_until

from .evidence import Published
from .processes import DemoError, Server
from .stage import Stage

COMMAND = "manage.py run_subscriber --verbosity 2"
HANDLING_TIMEOUT_SECONDS = 30


class Subscriber:
    """The process that runs all handlers; ready when it is made."""

    def __init__(self, stage: Stage, **environment: str) -> None:
        self._server: Server = stage.serve(COMMAND, **environment)
        self._server.wait_for(r"(?m)^Ready")

    def wait_for_handling(self, event: Published, handlers: Collection[str]) -> None:
        """Wait until each of the handlers has handled the event."""
        wait_until(
            lambda: self._handlers_done_with(event) >= set(handlers),
            HANDLING_TIMEOUT_SECONDS,
            f"{event.routing_key} {event.event_id} was not handled by all of {sorted(handlers)}",
        )

    def lines_of(self, event: Published, handler: str) -> list[str]:
        """What it wrote of an event and a handler, with the event's id shortened."""
        return [
            line.replace(event.event_id, event.short_id)
            for line in self._server.lines_with(event.event_id)
            if line.startswith(handler)
        ]

    def stop(self) -> None:
        """Stop it gracefully: the running handler ends, and what waits stays on the broker."""
        status = self._server.stop()
        if status != 0:
            raise DemoError(f"`{COMMAND}` ended with status {status}.")

    def _handlers_done_with(self, event: Published) -> set[str]:
        lines = self._server.lines_with(event.event_id)
        return {line.partition(":")[0] for line in lines if "was handled" in line}
