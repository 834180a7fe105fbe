"""`pika_send` with kombu and `confirm_publish`."""

from kombu import Connection, Exchange  # type: ignore[import-not-found]

from .event import BODY, EXCHANGE, ROUTING_KEY
from .sending import measure


def main(size: int, batches: int, broker_url: str) -> None:
    options = {"confirm_publish": True}
    with Connection(broker_url, transport_options=options) as connection:
        producer = connection.Producer(exchange=Exchange(EXCHANGE, type="topic", durable=True))

        def send(count: int) -> None:
            for _ in range(count):
                producer.publish(
                    BODY,
                    ROUTING_KEY,
                    delivery_mode="persistent",
                    mandatory=True,
                    content_type="application/json",
                    content_encoding="utf-8",
                )

        measure(send, size, batches)
