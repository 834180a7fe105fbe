"""Queues on RabbitMQ that events go to when nobody is there to handle them."""

from __future__ import annotations

from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

from domain_event_broker import DomainEvent, Subscriber
from tests.support.rabbitmq import RabbitmqNode
from tests.support.raw_amqp import raw_channel

from .subjects.event import BINDING_KEY, HANDLER


class UndeclaredQueue:
    """A handler's queue that somebody else is to declare, in a vhost of its own.

    The vhost is there from the beginning, and gone at the end of the context.
    """

    def __init__(self, node: RabbitmqNode) -> None:
        self.url = node.new_vhost()
        self._node = node

    def count(self) -> int:
        """How many events are in it, exactly and at this moment."""
        return self._node.message_count(self.vhost, HANDLER)

    def purge(self) -> None:
        with raw_channel(self.url) as channel:
            channel.queue_purge(HANDLER)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._node.delete_vhost(self.vhost)

    @property
    def vhost(self) -> str:
        return unquote(urlsplit(self.url).path[1:])


class BoundQueue(UndeclaredQueue):
    """A handler's quorum queue, bound for the benchmarks' event, in a vhost of its own.

    It is there from the beginning, and gone at the end of the context.
    """

    def __init__(self, node: RabbitmqNode) -> None:
        super().__init__(node)
        subscriber = Subscriber(self.url)
        subscriber.register(ignore, HANDLER, [BINDING_KEY])
        subscriber.disconnect()


def ignore(event: DomainEvent) -> None:
    """Never called: nothing is consumed."""
