"""Replays one dead letter with domain-event-broker 3.0.2, run by the interpreter that has it.

    peer_replayer.py URL QUEUE ACTION

ACTION is what the callback returns. Writes what `replay_event` returned and what the callback saw.
"""

import json
import sys
from typing import Any

from domain_event_broker import replay_event


def main(url: str, queue: str, action: str) -> None:
    seen: list[dict[str, Any]] = []

    def decide(frame: Any, header: Any, body: bytes) -> str:
        seen.append({"routing_key": frame.routing_key, "body": body.decode()})
        return action

    left = replay_event(queue, decide, connection_settings=url)
    print(json.dumps({"left": left, "seen": seen}))


if __name__ == "__main__":
    main(*sys.argv[1:])
