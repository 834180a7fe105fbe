"""`core_publish_steadily` with pika: persistent, and each confirmed before the next."""

import json
import time

import pika

from .event import EXCHANGE, ROUTING_KEY, data
from .output import tell
from .pace import at_rate

PERSISTENT = pika.BasicProperties(delivery_mode=2, content_type="application/json")


def main(count: int, per_second: float, broker_url: str) -> None:
    began_at: list[float] = []
    connection = pika.BlockingConnection(pika.URLParameters(broker_url))
    channel = connection.channel()
    channel.confirm_delivery()

    def publish(number: int) -> None:
        began_at.append(time.time())
        body = json.dumps({"routing_key": ROUTING_KEY, "data": data(number)})
        channel.basic_publish(EXCHANGE, ROUTING_KEY, body.encode(), PERSISTENT)

    at_rate(publish, count, per_second)
    connection.close()
    tell(began_at=began_at)
