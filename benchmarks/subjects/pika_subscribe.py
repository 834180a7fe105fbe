"""`core_subscribe` with pika, whose handler runs inline."""

import json
import time
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel

from .consuming import PREFETCH
from .event import HANDLER
from .output import tell


def main(count: int, time_limit_seconds: float, broker_url: str) -> None:
    arrivals: list[tuple[int, float]] = []

    def on_message(channel: BlockingChannel, method: Any, properties: Any, body: bytes) -> None:
        event = json.loads(body)
        now = time.time()
        arrivals.append((event["data"]["user_id"], now))
        channel.basic_ack(method.delivery_tag)
        if len(arrivals) == count:
            channel.stop_consuming()

    connection = pika.BlockingConnection(pika.URLParameters(broker_url))
    channel = connection.channel()
    connection.call_later(time_limit_seconds, channel.stop_consuming)
    channel.basic_qos(prefetch_count=PREFETCH)
    channel.basic_consume(HANDLER, on_message)
    tell(ready=True)
    channel.start_consuming()
    connection.close()
    tell(arrivals=arrivals)
