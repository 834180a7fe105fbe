"""Processes that publish and fork: `python -m tests.amqp.publishing_process SCENARIO URL`.

Each writes what it has reached, a word a line, and where it needs leave to go on, reads a line.
Events are numbered; a process that was forked puts its own number in `child`.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from threading import Event, Thread, main_thread

from domain_event_broker import publish_domain_event
from domain_event_broker.errors import TransportClosed


def publish(url: str, count: int, child: int = 0) -> None:
    for number in range(count):
        data = {"child": child, "n": number}
        publish_domain_event("user.left", data, connection_settings=url)


def say(word: object) -> None:
    print(word, flush=True)


def wait_for_leave() -> None:
    sys.stdin.readline()


def fork(work: Callable[[], None]) -> int:
    """Run `work` in a forked child that ends as a script does, with all that is done at exit."""
    child = os.fork()
    if child == 0:
        work()
        sys.exit()
    return child


def wait_for(child: int) -> None:
    _, status = os.waitpid(child, 0)
    assert status == 0, status


def exit_at_once(url: str) -> None:
    publish(url, 3)


def fail(url: str) -> None:
    publish(url, 3)
    raise RuntimeError("as scripts may")


def publish_from_a_thread(url: str) -> None:
    """The thread still publishes when the main thread ends."""
    publish(url, 1)
    Thread(target=publish, args=[url, 200]).start()


def begin_to_publish_when_all_ends(url: str) -> None:
    """The main thread has ended when the thread asks for its first connection."""

    def publish_late() -> None:
        main_thread().join()
        try:
            publish(url, 1)
        except TransportClosed:
            say("closed")
        else:
            say("published")

    Thread(target=publish_late).start()


def fork_and_publish(url: str) -> None:
    publish(url, 10)
    say("published")
    wait_for_leave()
    child = fork(lambda: publish(url, 10, child=1))
    publish(url, 10)
    wait_for(child)
    say("child-ended")
    wait_for_leave()
    publish(url, 10)


def fork_by_multiprocessing(url: str) -> None:
    publish(url, 1)
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=publish, args=[url, 10, n]) for n in (1, 2, 3)]
    for child in children:
        child.start()
    publish(url, 9)
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0, 0]
    publish(url, 1)


def fork_beside_threads(url: str) -> None:
    """Fork while other threads publish, whatever they are just doing."""
    is_over = Event()

    def publish_on() -> None:
        while not is_over.is_set():
            publish(url, 1)

    threads = [Thread(target=publish_on) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(1, 11):
        wait_for(fork(lambda number=number: publish(url, 10, child=number)))  # type: ignore[misc]
    is_over.set()
    for thread in threads:
        thread.join()
    publish(url, 1)


def fork_and_linger(url: str) -> None:
    """The child never touches the broker; it waits until its input ends."""
    publish(url, 1)
    say(fork(sys.stdin.read))  # type: ignore[arg-type]
    while True:
        time.sleep(60)


SCENARIOS = (
    exit_at_once,
    fail,
    publish_from_a_thread,
    begin_to_publish_when_all_ends,
    fork_and_publish,
    fork_by_multiprocessing,
    fork_beside_threads,
    fork_and_linger,
)


if __name__ == "__main__":
    {scenario.__name__: scenario for scenario in SCENARIOS}[sys.argv[1]](sys.argv[2])
