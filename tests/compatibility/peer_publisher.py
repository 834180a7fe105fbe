"""Publishes with domain-event-broker 3.0.2, to be run by the interpreter that has it.

    peer_publisher.py URL EVENTS

EVENTS is a JSON list of keyword arguments of `publish_domain_event`. Writes the JSON list of the
events that it returned.
"""

import json
import sys

from domain_event_broker import publish_domain_event


def main(url: str, events: str) -> None:
    published = [
        publish_domain_event(**arguments, connection_settings=url)
        for arguments in json.loads(events)
    ]
    print(json.dumps([event.event_data for event in published]))


if __name__ == "__main__":
    main(*sys.argv[1:])
