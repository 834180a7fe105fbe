"""`pika_consume` inline, with aio-pika: one message after the other, from a queue's iterator."""

import asyncio
import json

from aio_pika import connect_robust  # type: ignore[import-not-found]

from .consuming import PREFETCH, begin, end
from .event import HANDLER


def main(count: int, broker_url: str) -> None:
    asyncio.run(consume(count, broker_url))


async def consume(count: int, broker_url: str) -> None:
    left = count
    connection = await connect_robust(broker_url)
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=PREFETCH)
    queue = await channel.get_queue(HANDLER)
    watch = begin()
    async with queue.iterator() as messages:
        async for message in messages:
            json.loads(message.body)
            await message.ack()
            left -= 1
            if not left:
                break
    await channel.close()
    await connection.close()
    end(watch, count)
