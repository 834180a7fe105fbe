"""Child processes that the tests start, stop, freeze and kill by their own process ids."""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.waiting import wait_until

LOG_TAIL_LINES = 30


class ServerProcess:
    """A server that runs in the foreground as our child, in a process group of its own.

    Its own group keeps the terminal's Ctrl-C from it: only these methods signal it. It runs
    in `folder`, or else where we do.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        console: Path,
        folder: Path | None = None,
    ) -> None:
        with console.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                env=dict(environment),
                cwd=folder,
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

    @property
    def exit_status(self) -> int | None:
        """Once it has ended; negative for the signal that ended it."""
        return self._process.poll()

    def terminate(self, timeout_seconds: float, number: signal.Signals = signal.SIGTERM) -> bool:
        """Ask it by a signal to end and wait; return whether it did before the deadline."""
        self.signal(number)
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def freeze(self) -> None:
        """Stop it by SIGSTOP, and return when all of its threads stand still.

        SIGCONT has it go on.
        """
        self.signal(signal.SIGSTOP)
        wait_until(lambda: stands_still(self.pid) or not self.is_running)

    def kill(self) -> None:
        """Kill it and what it left in its process group, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self._process.wait()

    def kill_with_children(self) -> None:
        """Kill it and its children, whatever their process groups, and wait until they are gone.

        Frozen first, it starts no more of them, and it buries none: no process id that is
        signalled here can have become another process's meanwhile.
        """
        if not self.is_running:
            return
        self.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        children = children_of(self.pid)
        for child in children:
            os.kill(child, signal.SIGKILL)
        wait_until(lambda: not any(is_alive(child) for child in children))
        self.kill()

    def signal(self, number: signal.Signals) -> None:
        """Send `number`; Popen remembers an end, so a reused process id is never hit."""
        self._process.send_signal(number)


def with_system_path(environment: Mapping[str, str]) -> dict[str, str]:
    """Return `environment` and nothing of ours but the search path and a UTF-8 locale."""
    path = os.environ.get("PATH", os.defpath)
    return {"PATH": f"{path}:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", **environment}


def tail(path: Path) -> list[str]:
    """Return the last lines of what a server wrote."""
    return path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]


def dying_with_us(user_and_group: tuple[int, int] | None = None) -> list[str]:
    """Return what to put before a command so that it dies with us, and runs as that user.

    The kernel kills it when the thread that started it ends: even a test run that is killed
    leaves no server behind. Its process id is the command's own.
    """
    if shutil.which("setpriv") is None:
        return []
    setpriv = ["setpriv", "--pdeathsig", "KILL"]
    if user_and_group is None:
        return [*setpriv, "--"]
    user, group = user_and_group
    return [*setpriv, f"--reuid={user}", f"--regid={group}", "--clear-groups", "--"]


def is_root() -> bool:
    return os.geteuid() == 0


def children_of(pid: int) -> list[int]:
    found = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
    return [child for child in found if parent_of(child) == pid]


def parent_of(pid: int) -> int:
    """Return the parent's process id, or 0 if the process has ended meanwhile."""
    fields = stat_of(pid)
    return int(fields[1]) if fields else 0


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that ended and is not yet buried does not."""
    fields = stat_of(pid)
    return bool(fields) and fields[0] != "Z"


def stands_still(pid: int) -> bool:
    """Whether each thread of the process was stopped by a signal."""
    stats = [stat_in(task) for task in Path(f"/proc/{pid}/task").iterdir()]
    return all(fields[:1] == ["T"] for fields in stats if fields)


def stat_of(pid: int) -> list[str]:
    """Return what the kernel says of a process: state, parent and more; of none, nothing."""
    return stat_in(Path(f"/proc/{pid}"))


def stat_in(folder: Path) -> list[str]:
    """The same of a process or a thread with that folder."""
    try:
        return (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
