"""Waiting, ports and the choice of releases."""

import os
import socket
import subprocess
import sys
import threading
from itertools import count
from pathlib import Path

import pytest

from tests.support.ports import LOOPBACK, first_ephemeral_port, free_ports, is_free
from tests.support.releases import (
    SCRATCH_PREFIX,
    ReleaseNotFound,
    find_release,
    requested_releases,
)
from tests.support.scratch import remove_abandoned_folders
from tests.support.threads import at_once, start_thread
from tests.support.waiting import wait_until


def test_waiting_returns_the_first_true_value() -> None:
    numbers = count()
    assert wait_until(lambda: next(numbers) == 3 and "three") == "three"


def test_waiting_in_vain_fails_with_the_message() -> None:
    with pytest.raises(AssertionError, match=r"no order came, seen: 0 \(waited 0 s\)"):
        wait_until(lambda: False, 0, lambda: "no order came, seen: 0")


def test_free_ports_are_different_and_below_the_outgoing_ones() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert max(ports) < first_ephemeral_port()


def test_a_port_that_is_listened_on_is_not_free() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        assert not is_free(server.getsockname()[1])


def test_a_thread_gets_its_arguments() -> None:
    seen: list[str] = []
    start_thread(seen.append, "an argument").join(30)
    assert seen == ["an argument"]


def test_works_at_once_are_threads_of_their_own() -> None:
    idents = at_once(*[threading.get_ident] * 4)
    assert len(set(idents)) == 4
    assert at_once(lambda: "a", lambda: "b") == ["a", "b"]


def test_what_one_of_them_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        at_once(lambda: 1, lambda: 1 // 0)


@pytest.mark.parametrize(
    ("value", "names"),
    [(None, ["installed"]), ("", ["installed"]), (" 4.0, 4.3,", ["4.0", "4.3"])],
)
def test_releases_are_asked_for_by_the_environment(value: str | None, names: list[str]) -> None:
    environment = {} if value is None else {"RABBITMQ_RELEASES": value}
    assert requested_releases(environment) == names


def test_a_missing_release_says_what_prepares_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ReleaseNotFound, match=r"prepare|make setup"):
        find_release("9.9")
    with pytest.raises(ReleaseNotFound, match=r"prepare|root"):
        find_release(str(tmp_path))


def test_folders_of_killed_test_runs_are_removed(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    abandoned = tmp_path / f"{SCRATCH_PREFIX}{ended.pid}-x"
    in_use = tmp_path / f"{SCRATCH_PREFIX}{os.getpid()}-x"
    for folder in (abandoned, in_use):
        (folder / "data").mkdir(parents=True)
    remove_abandoned_folders(tmp_path, SCRATCH_PREFIX)
    assert not abandoned.exists()
    assert in_use.exists()
