"""The brokers of the test project: their URLs, and how much waits on them."""

from __future__ import annotations

from collections.abc import Sequence

from pika.exceptions import AMQPError

from tests.support.raw_amqp import raw_channel

from .databases import Database
from .plans import HANDLERS

DEAD_LETTERS = [f"{handler}-dl" for handler in HANDLERS]


class Rabbitmq:
    """A virtual host, of one node or of a cluster whose nodes are all named."""

    def __init__(self, *urls: str) -> None:
        self._urls = urls

    @property
    def url(self) -> str:
        """That of the first node."""
        return self._urls[0]

    @property
    def setting(self) -> str | list[str]:
        """What a project has as ``URL``."""
        return self.url if len(self._urls) == 1 else list(self._urls)

    def waiting(self) -> int | None:
        """How many messages are ready in the handlers' queues and those of dead letters.

        ``None`` while it does not answer.
        """
        return self._ready([*HANDLERS, *DEAD_LETTERS])

    def dead_letters(self) -> int | None:
        """How many of these are dead letters."""
        return self._ready(DEAD_LETTERS)

    def _ready(self, queues: Sequence[str]) -> int | None:
        for url in self._urls:
            try:
                with raw_channel(url) as channel:
                    declared = [channel.queue_declare(queue, passive=True) for queue in queues]
            except AMQPError:
                continue
            return sum(int(each.method.message_count) for each in declared)
        return None


class DatabaseQueues:
    """The database transport's tables."""

    url = setting = "database://"

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
