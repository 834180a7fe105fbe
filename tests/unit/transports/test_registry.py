"""From settings to their transport: one per process and settings, also after a fork."""

import subprocess
import sys
import threading

import pytest

from domain_event_broker import transports
from domain_event_broker.errors import SettingsError
from domain_event_broker.settings import Settings
from domain_event_broker.transports import close_all, transport_for
from domain_event_broker.transports.base import Transport
from domain_event_broker.transports.memory import MemoryTransport


def test_the_scheme_chooses_the_transport(url: str) -> None:
    assert isinstance(transport_for(Settings(url=url)), MemoryTransport)
    assert isinstance(transport_for(Settings(url=url.upper())), MemoryTransport)


def test_equal_settings_share_a_transport_and_others_do_not(url: str) -> None:
    transport = transport_for(Settings(url=url))

    assert transport_for(Settings(url=url)) is transport
    assert transport_for(Settings(url=url, prefetch=1)) is not transport


def test_threads_that_ask_at_once_get_the_same(url: str) -> None:
    together = threading.Barrier(8)
    found: list[Transport] = []

    def ask() -> None:
        together.wait(30)
        found.append(transport_for(Settings(url=url)))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(found) == 8
    assert len(set(map(id, found))) == 1


def test_an_unknown_scheme_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="known are amqp, amqps, database, memory"):
        transport_for(Settings(url="kafka://host/"))


def test_after_closing_all_the_next_use_opens_anew(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[tuple[Transport, float]] = []
    monkeypatch.setattr(
        MemoryTransport, "close", lambda self, seconds: closed.append((self, seconds))
    )
    transport = transport_for(Settings(url=url, publish_timeout_seconds=2))
    close_all()

    assert (transport, 2) in closed
    assert transport_for(transport.settings) is not transport


def test_every_scheme_leads_to_a_transport() -> None:
    for scheme in transports.SCHEMES:
        # For one it is a host, for another a name, and for the database one of DATABASES.
        made = transport_for(Settings(url=f"{scheme}://default"))
        assert isinstance(made, Transport)
        assert made.settings.scheme == scheme


FORK_WHILE_LOCKED = """
import os, signal, sys, threading, time
from domain_event_broker import DomainEvent, Subscriber, publish_domain_events, transports
from domain_event_broker.transports import memory

def settings(url):
    return {"URL": url, "UNROUTABLE": "ignore"}

publish_domain_events([DomainEvent("a.b")], settings("memory://x"))
held, done = threading.Event(), threading.Event()

def hold():
    with memory._brokers_lock, memory._brokers["x"].changed:
        with transports._lock:
            held.set()
            time.sleep(0.3)  # while the other forks, which may wait for this one
        done.wait()

threading.Thread(target=hold).start()
held.wait()
child = os.fork()
if child:
    _, status = os.waitpid(child, 0)
    done.set()
    sys.exit(os.waitstatus_to_exitcode(status))
signal.alarm(20)  # it must not outlive the test if it hangs
for url in ("memory://x", "memory://y"):
    seen = []
    subscriber = Subscriber(settings(url))
    subscriber.register(seen.append, "handler", ["#"])
    publish_domain_events([DomainEvent("a.b")], settings(url))
    subscriber.start_consuming(10, max_events=1)
    assert len(seen) == 1, url
os._exit(7)
"""


def test_a_forked_child_is_not_held_by_its_parents_locks() -> None:
    result = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK_WHILE_LOCKED],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert result.stderr == ""
    assert result.returncode == 7
