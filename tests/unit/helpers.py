"""Handlers that remember, and the few lines that most tests of the core begin with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from domain_event_broker import DomainEvent, Subscriber, publish_domain_event
from domain_event_broker.handling import Report
from domain_event_broker.messages import Message
from domain_event_broker.settings import Settings
from domain_event_broker.transports import transport_for
from domain_event_broker.transports.base import Consumer, Subscription

LIMIT_SECONDS = 30.0


class Recorder:
    """A handler that notes its events and then does as it is told."""

    def __init__(self, behaviour: Callable[[DomainEvent], Any] | None = None) -> None:
        self.events: list[DomainEvent] = []
        self.behaviour = behaviour

    def __call__(self, event: DomainEvent) -> None:
        self.events.append(event)
        if self.behaviour is not None:
            self.behaviour(event)

    @property
    def data(self) -> list[Any]:
        return [event.data for event in self.events]


def raising(error: BaseException) -> Callable[[DomainEvent], None]:
    def behaviour(event: DomainEvent) -> None:
        raise error.with_traceback(None)

    return behaviour


def subscriber(
    url: str,
    handler: Callable[[DomainEvent], Any],
    name: str = "handler",
    binding_keys: Iterable[str] = ("#",),
    on_report: Callable[[Report], None] | None = None,
    **options: Any,
) -> Subscriber:
    """A subscriber with one handler registered."""
    made = Subscriber(url, on_report=on_report)
    made.register(handler, name, binding_keys, **options)
    return made


def drain(subject: Subscriber) -> None:
    subject.start_consuming(LIMIT_SECONDS, drain=True)


def fail_some(url: str, count: int) -> list[DomainEvent]:
    """So many dead letters of the handler named "handler", with the data 0, 1, 2, ..."""
    failing = subscriber(url, raising(ValueError("why")), binding_keys=["fails.*"])
    events = [
        publish_domain_event("fails.now", number, connection_settings=url)
        for number in range(count)
    ]
    drain(failing)
    return events


def handle_rest(url: str) -> list[Any]:
    """The data of what waits for that handler now, once it works."""
    handler = Recorder()
    drain(subscriber(url, handler, binding_keys=["fails.*"]))
    return handler.data


def dead_letters(url: str, name: str = "handler") -> list[Message]:
    """A look at what was dead-lettered."""
    with transport_for(Settings(url=url)).dead_letters(name) as box:
        return [dead_letter.message for dead_letter in box.take(1_000)]


def tap(url: str, name: str = "tap", binding_key: str = "#") -> Consumer:
    """A queue of its own, to see messages as they are carried."""
    consumer = transport_for(Settings(url=url)).consumer()
    consumer.subscribe(Subscription(name, (binding_key,)))
    consumer.start()
    return consumer


def received(consumer: Consumer) -> list[Message]:
    """What waits in a tap, acknowledged."""
    messages = []
    while (delivery := consumer.receive(0)) is not None:
        consumer.ack(delivery)
        messages.append(delivery.message)
    return messages


def publish_raw(url: str, *messages: Message) -> None:
    """Send messages past our own encoding, as any other program could."""
    transport_for(Settings(url=url)).publish(messages, LIMIT_SECONDS)


class Background:
    """A subscriber that consumes in a thread while the test goes on."""

    def __init__(self, subject: Subscriber, **options: Any) -> None:
        self._subject = subject
        self._options = options
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.error: BaseException | None = None

    def _run(self) -> None:
        try:
            self._subject.start_consuming(**self._options)
        except BaseException as error:
            self.error = error

    def __enter__(self) -> Background:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._subject.stop_consuming()
        self.wait()

    def wait(self) -> None:
        """Wait until `start_consuming` has returned."""
        self._thread.join(LIMIT_SECONDS)
        assert not self._thread.is_alive(), "start_consuming did not return"
