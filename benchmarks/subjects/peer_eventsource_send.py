"""`send_batches` with eventsource-py: its events and its envelope, as many as one `publish` takes.

Tracing, which is not installed, is off. Its own queue is there, and nothing is routed to it.
"""

import asyncio
import logging
from uuid import UUID

from eventsource import DomainEvent  # type: ignore[import-not-found]
from eventsource.adapters.rabbitmq import (  # type: ignore[import-not-found]
    RabbitMQEventBus,
    RabbitMQEventBusConfig,
)

from .event import EXCHANGE, ROUTING_KEY, USER_ID, data
from .sending import measure_awaited

# It makes the routing key of these.
AGGREGATE_TYPE, EVENT_TYPE = ROUTING_KEY.split(".")
NOTHING = "nothing"


class UserRegistered(DomainEvent):  # type: ignore[misc]
    suppress_event_type_warning = True
    event_type: str = EVENT_TYPE
    aggregate_type: str = AGGREGATE_TYPE
    user_id: int
    email: str
    name: str
    locale: str
    newsletter: bool


def main(size: int, batches: int, broker_url: str) -> None:
    logging.getLogger("eventsource").setLevel(logging.ERROR)  # it warns of its own end
    asyncio.run(connect_and_send(size, batches, broker_url))


async def connect_and_send(size: int, batches: int, broker_url: str) -> None:
    config = RabbitMQEventBusConfig(
        rabbitmq_url=broker_url,
        exchange_name=EXCHANGE,
        consumer_group=NOTHING,
        routing_key_pattern=NOTHING,
        enable_dlq=False,
    )
    async with RabbitMQEventBus(config) as bus:

        async def send(count: int) -> None:
            await bus.publish([user_registered() for _ in range(count)])

        await measure_awaited(send, size, batches)


def user_registered() -> UserRegistered:
    return UserRegistered(aggregate_id=UUID(int=USER_ID), **data())
