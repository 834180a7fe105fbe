"""What arrives at a broker."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from domain_event_broker import DomainEvent
from domain_event_broker.encoding import decode
from domain_event_broker.messages import Message
from domain_event_broker.settings import resolve
from domain_event_broker.transports import transport_for
from domain_event_broker.transports.base import Subscription


class Listener:
    """Receives what is published to the broker at `url`, by default all."""

    def __init__(self, url: str, name: str = "listener", *binding_keys: str) -> None:
        settings = resolve(url)
        assert settings is not None
        self._consumer = transport_for(settings).consumer()
        self._consumer.subscribe(Subscription(name, binding_keys or ("#",)))
        self._consumer.start()
        self._messages: list[Message] = []

    @property
    def messages(self) -> list[Message]:
        """All that arrived so far, in order."""
        while delivery := self._consumer.receive(0):
            self._consumer.ack(delivery)
            self._messages.append(delivery.message)
        return list(self._messages)

    @property
    def events(self) -> list[DomainEvent]:
        return [decode(message) for message in self.messages]

    @property
    def routing_keys(self) -> list[str]:
        return [message.routing_key for message in self.messages]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._consumer.close()
