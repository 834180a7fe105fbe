"""Child processes that the tests start, stop, freeze and kill by their own process ids."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class ServerProcess:
    """A server that runs in the foreground as our child, in a process group of its own.

    Its own group keeps the terminal's Ctrl-C from it: only these methods signal it.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], console: Path
    ) -> None:
        with console.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def terminate(self, timeout_seconds: float) -> bool:
        """Ask it to end and wait; return whether it did so before the deadline."""
        self.signal(signal.SIGTERM)
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """Kill it and what it left in its process group, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send `number`; Popen remembers an end, so a reused process id is never hit."""
        self._process.send_signal(number)


def with_system_path(environment: Mapping[str, str]) -> dict[str, str]:
    """Return `environment` and nothing of ours but the search path and a UTF-8 locale."""
    path = os.environ.get("PATH", os.defpath)
    return {"PATH": f"{path}:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", **environment}
