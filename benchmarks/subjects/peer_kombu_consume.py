"""`pika_consume` inline, with kombu, which reads the body's JSON by itself."""

from typing import Any

from kombu import Connection, Consumer, Queue  # type: ignore[import-not-found]

from .consuming import PREFETCH, begin, end
from .event import HANDLER


def main(count: int, broker_url: str) -> None:
    left = count

    def on_message(body: Any, message: Any) -> None:
        nonlocal left
        message.ack()
        left -= 1

    with Connection(broker_url) as connection:
        channel = connection.default_channel
        queue = Queue(HANDLER, no_declare=True)
        consumer = Consumer(channel, [queue], callbacks=[on_message], prefetch_count=PREFETCH)
        watch = begin()
        consumer.consume()
        while left:
            connection.drain_events()
        consumer.cancel()
        channel.close()  # answered once the broker has read what was sent before
    end(watch, count)
