"""A worker on domain-event-broker 3.0.2, to be run by the interpreter that has it.

    peer_worker.py URL HANDLERS

HANDLERS is a JSON list of keyword arguments of `Subscriber.register`. Writes ``{"ready": true}``
when all are registered, then an object for each event that a handler was given. An event says in
its data what is to become of it here: ``peer`` may be "fails" or "retries" (once). SIGINT ends it.
"""

import json
import signal
import sys
from collections.abc import Callable
from typing import Any

from domain_event_broker import DomainEvent, Retry, Subscriber


def write(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


def handler_named(name: str) -> Callable[[DomainEvent], None]:
    seen: set[str] = set()

    def handle(event: DomainEvent) -> None:
        write({"handler": name, "retries": event.retries, "event": event.event_data})
        is_new = event.uuid_string not in seen
        seen.add(event.uuid_string)
        instruction = event.data.get("peer") if isinstance(event.data, dict) else None
        if instruction == "fails":
            raise RuntimeError("the event asked for this")
        if instruction == "retries" and is_new:
            raise Retry(0.1)

    return handle


def main(url: str, handlers: str) -> None:
    # Explicitly, since a process in the background may have been started with it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    subscriber = Subscriber(url)
    for arguments in json.loads(handlers):
        subscriber.register(handler_named(arguments["name"]), **arguments)
    write({"ready": True})
    subscriber.start_consuming()


if __name__ == "__main__":
    main(*sys.argv[1:])
