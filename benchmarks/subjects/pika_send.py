"""pika's `BlockingConnection`, which waits for each confirm. The body is encoded already."""

import pika

from .event import BODY, EXCHANGE, ROUTING_KEY
from .sending import measure


def main(size: int, batches: int, broker_url: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(broker_url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()

        def send(count: int) -> None:
            for _ in range(count):
                channel.basic_publish(EXCHANGE, ROUTING_KEY, BODY, properties(), mandatory=True)

        measure(send, size, batches)


def properties() -> pika.BasicProperties:
    return pika.BasicProperties(
        content_type="application/json", delivery_mode=pika.DeliveryMode.Persistent.value
    )
