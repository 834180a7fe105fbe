"""`pika_send` with aio-pika: all events of a batch at once, by `asyncio.gather`."""

import asyncio

from aio_pika import (  # type: ignore[import-not-found]
    DeliveryMode,
    ExchangeType,
    Message,
    connect_robust,
)

from .event import BODY, EXCHANGE, ROUTING_KEY
from .sending import measure_awaited


def main(size: int, batches: int, broker_url: str) -> None:
    asyncio.run(connect_and_send(size, batches, broker_url))


async def connect_and_send(size: int, batches: int, broker_url: str) -> None:
    async with await connect_robust(broker_url) as connection:
        channel = await connection.channel()  # confirms and mandatory are its defaults
        exchange = await channel.declare_exchange(EXCHANGE, ExchangeType.TOPIC, durable=True)

        async def send(count: int) -> None:
            await asyncio.gather(*(exchange.publish(message(), ROUTING_KEY) for _ in range(count)))

        await measure_awaited(send, size, batches)


def message() -> Message:
    return Message(BODY, content_type="application/json", delivery_mode=DeliveryMode.PERSISTENT)
