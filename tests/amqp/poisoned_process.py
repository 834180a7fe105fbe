"""A subscriber process whose handlers die by some events.

`python -m tests.amqp.poisoned_process URL LEDGER SETTINGS NAMES`: settings as JSON, the names of
the handlers between commas.

Each run of a handler adds the line "handler number" to the ledger before anything else. An event
whose data has the key "kills" ends the process by SIGKILL while it is handled. The process ends
by itself when nothing waits any more.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from functools import partial

from domain_event_broker import DomainEvent, Subscriber


def handle(ledger: int, name: str, event: DomainEvent) -> None:
    # One write to a file that was opened for appending, so that no kill can tear it.
    os.write(ledger, f"{name} {event.data['number']}\n".encode())
    if "kills" in event.data:
        os.kill(os.getpid(), signal.SIGKILL)


def main(url: str, ledger_path: str, settings: str, names: str) -> None:
    ledger = os.open(ledger_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    subscriber = Subscriber({"URL": url, **json.loads(settings)})
    for name in names.split(","):
        subscriber.register(partial(handle, ledger, name), name, [f"{name}.*"])
    subscriber.start_consuming(drain=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
