"""The brokers of the test project: their URLs, and how much waits on them."""

from __future__ import annotations

from collections.abc import Sequence

from pika.exceptions import AMQPError

from tests.support.raw_amqp import raw_channel

from .databases import Database
from .plans import HANDLERS

DEAD_LETTERS = [f"{handler}-dl" for handler in HANDLERS]


class Rabbitmq:
    """A virtual host."""

    def __init__(self, url: str) -> None:
        self.url = url

    def waiting(self) -> int | None:
        """How many messages are ready in the handlers' queues and those of dead letters.

        ``None`` while it does not answer.
        """
        return self._ready([*HANDLERS, *DEAD_LETTERS])

    def dead_letters(self) -> int | None:
        """How many of these are dead letters."""
        return self._ready(DEAD_LETTERS)

    def _ready(self, queues: Sequence[str]) -> int | None:
        try:
            with raw_channel(self.url) as channel:
                declared = [channel.queue_declare(queue, passive=True) for queue in queues]
        except AMQPError:
            return None
        return sum(int(each.method.message_count) for each in declared)


class DatabaseQueues:
    """The database transport's tables."""

    url = "database://"

    def __init__(self, database: Database) -> None:
        self._database = database

    def waiting(self) -> int:
        """How many messages there are, dead letters and those that somebody holds included."""
        return self._count("TRUE")

    def dead_letters(self) -> int:
        """How many of these are dead letters."""
        return self._count("queue.name LIKE '%-dl'")

    def _count(self, condition: str) -> int:
        query = (
            "SELECT COUNT(*) FROM domain_event_broker_queuedmessage JOIN domain_event_broker_queue "
            f"AS queue ON queue.id = queue_id WHERE {condition}"
        )
        return int(self._database.rows(query)[0][0])


Broker = Rabbitmq | DatabaseQueues
