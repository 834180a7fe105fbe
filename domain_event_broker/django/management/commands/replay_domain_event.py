"""``manage.py replay_domain_event``: the command of 3.x, on the broker's own dead-letter queues.

It needs no database. What ``run_subscriber`` has collected is in one, and not here.
"""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db.utils import Error as DatabaseError

from ....errors import DomainEventBrokerError
from ....messages import Message
from ....redacting import redacted
from ....replaying import DISCARD, LEAVE, RETRY, replay_all, replay_event, retry_event
from ... import conf
from ...console import telling_errors
from ...databases import check_tables
from ...dead_letters import Selection, count
from ...dead_letters.showing import printable
from ...models import DeadLetter
from ...transactions import dead_letter_alias

_ANSWERS = {
    "r": (RETRY, "Message is returned to worker queue."),
    "d": (DISCARD, "Message has been discarded."),
}
_LEFT = (LEAVE, "Message left in queue.")


class Command(BaseCommand):
    help = "Moves dead letters that are in the broker's queue back to their handler."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("queue", nargs="+", metavar="QUEUE", help="Name of a handler.")
        parser.add_argument(
            "--all", action="store_true", dest="replay_all", help="All, not only the first."
        )
        parser.add_argument(
            "--interactive", action="store_true", help="Ask what to do with each event."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        callback = self._ask if options["interactive"] else retry_event
        replay = replay_all if options["replay_all"] else replay_event
        with telling_errors(self.stderr, options["verbosity"]):
            conf.required()
            for queue in options["queue"]:
                remaining = replay(queue, callback)
                self.stdout.write(f"{remaining} dead-lettered events remaining for {queue}")
                self._point_to_table(queue)

    def _ask(self, *, body: bytes, header: Message, **_: Any) -> str:
        self.stdout.write("Please specify action for:")
        for line in self._shown(body, header.routing_key).splitlines():
            self.stdout.write(printable(line))
        self.stdout.write("(R)eplay, (D)iscard or (L)eave? ", ending="")
        self.stdout.flush()
        try:
            answer = input().strip().lower()[:1]
        except EOFError:
            answer = ""
        action, told = _ANSWERS.get(answer, _LEFT)
        self.stdout.write(told)
        return action

    def _shown(self, body: bytes, routing_key: str) -> str:
        try:
            payload = json.loads(body)
        except (ValueError, RecursionError):
            return body.decode("utf-8", "backslashreplace")
        if isinstance(payload, dict) and "data" in payload:
            payload["data"] = redacted(conf.current(), routing_key, payload["data"])
        try:
            return json.dumps(payload, indent=4, sort_keys=True, ensure_ascii=False, default=str)
        except (TypeError, ValueError, RecursionError) as error:
            return f"(It cannot be shown: {type(error).__name__})"

    def _point_to_table(self, queue: str) -> None:
        try:
            check_tables(dead_letter_alias(), DeadLetter)
            collected = count(Selection(handlers=[queue]))
        except (DatabaseError, DomainEventBrokerError):  # there need be no database
            return
        if collected:
            self.stdout.write(
                f"{collected} more are collected in the database: see replay_dead_letters."
            )
