"""The same with eventsource-py's `RabbitMQEventBus`: its events, its envelope, and its queue.

What it does for each event beside is as it comes, without tracing, which is not installed.
"""

import asyncio
from typing import Any
from uuid import UUID

from aio_pika import RobustChannel  # type: ignore[import-not-found]
from eventsource import DomainEvent, EventRegistry  # type: ignore[import-not-found]
from eventsource.adapters.rabbitmq import (  # type: ignore[import-not-found]
    RabbitMQEventBus,
    RabbitMQEventBusConfig,
)

from .consuming import PREFETCH, begin, end
from .event import BINDING_KEY, HANDLER, USER_ID, data

EXCHANGE, GROUP = HANDLER.split(".")
BATCH = 1_000
POLL_SECONDS = 0.001


class UserRegistered(DomainEvent):  # type: ignore[misc]
    aggregate_type: str = "user"
    user_id: int
    email: str
    name: str
    locale: str
    newsletter: bool


class Handler:
    """Does nothing but notice the last event."""

    def __init__(self, count: int) -> None:
        self._left = count
        self.is_done = asyncio.Event()

    async def __call__(self, event: UserRegistered) -> None:
        self._left -= 1
        if not self._left:
            self.is_done.set()


def main(count: int, broker_url: str) -> None:
    declare_quorum_queues()
    asyncio.run(consume(count, broker_url))


async def consume(count: int, broker_url: str) -> None:
    config = RabbitMQEventBusConfig(
        rabbitmq_url=broker_url,
        exchange_name=EXCHANGE,
        consumer_group=GROUP,
        routing_key_pattern=BINDING_KEY,
        prefetch_count=PREFETCH,
    )
    registry = EventRegistry()
    registry.register(UserRegistered)
    bus = RabbitMQEventBus(config, event_registry=registry)
    handler = Handler(count)
    bus.subscribe(UserRegistered, handler)
    await bus.connect()
    await publish(bus, count)
    watch = begin()
    bus.start_consuming_in_background()
    await handler.is_done.wait()
    while bus.stats.events_processed_success < count:
        await asyncio.sleep(POLL_SECONDS)
    await bus.disconnect()
    end(watch, count)


async def publish(bus: Any, count: int) -> None:
    for first in range(0, count, BATCH):
        number = min(BATCH, count - first)
        await bus.publish([user_registered() for _ in range(number)])


def user_registered() -> UserRegistered:
    return UserRegistered(aggregate_id=UUID(int=USER_ID), **data())


def declare_quorum_queues() -> None:
    """Have it declare what it declares as quorum queues, for which it has no setting."""
    declare_queue = RobustChannel.declare_queue

    async def declare_quorum_queue(
        channel: Any, name: str, *, arguments: dict[str, Any] | None = None, **options: Any
    ) -> Any:
        as_quorum = {**(arguments or {}), "x-queue-type": "quorum"}
        return await declare_queue(channel, name, arguments=as_quorum, **options)

    RobustChannel.declare_queue = declare_quorum_queue
