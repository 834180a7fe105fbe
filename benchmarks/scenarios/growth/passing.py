"""Events on their way through RabbitMQ: published, relayed, consumed."""

from __future__ import annotations

from ...bench import Bench
from ...processes import Answer
from ...projects import NO_DJANGO, Database, our_project
from ...queues import UndeclaredQueue


def pass_through(
    bench: Bench,
    queue: UndeclaredQueue,
    database: Database,
    count: int,
    *,
    handlers: int = 1,
    text_bytes: int = 0,
) -> dict[str, Answer]:
    """What each part took; the queue is empty before and after."""
    with bench.start(
        "consume_many", NO_DJANGO, count=count, handlers=handlers, broker_url=queue.url
    ) as consuming:
        consuming.answer()
        published = bench.run(
            "publish_many",
            NO_DJANGO,
            count=count,
            handlers=handlers,
            text_bytes=text_bytes,
            broker_url=queue.url,
        )
        consuming.tell(begin=True)
        consumed = consuming.answer()
    project = our_project(database, queue.url)
    bench.run("outbox_backlog", project, count=count, text_bytes=text_bytes)
    relayed = bench.run("relay", project, count=count)
    queue.purge()
    return {"publish": published, "relay": relayed, "consume": consumed}
