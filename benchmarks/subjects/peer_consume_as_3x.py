"""The same with domain-event-broker 3.0.2, which prefetches one event, and cannot be told more."""

from typing import Any

from domain_event_broker import DomainEvent, Subscriber

from .consuming import begin, end
from .event import BINDING_KEY, HANDLER


def main(count: int, broker_url: str) -> None:
    subscriber: Any = Subscriber(broker_url)
    declare_quorum_queues(subscriber)
    left = count

    def handle(event: DomainEvent) -> None:
        nonlocal left
        left -= 1
        if not left:
            subscriber.workers.submit(stop, subscriber)  # after the acknowledgement of this one

    subscriber.register(handler=handle, name=HANDLER, binding_keys=[BINDING_KEY])
    watch = begin()
    subscriber.start_consuming()
    end(watch, count)


def stop(subscriber: Any) -> None:
    subscriber.connection.add_callback_threadsafe(subscriber.stop_consuming)


def declare_quorum_queues(subscriber: Any) -> None:
    """Have it declare what it declares as quorum queues, for which it has no setting."""
    declare_queue = subscriber.channel.queue_declare

    def declare_quorum_queue(arguments: dict[str, Any], **options: Any) -> Any:
        return declare_queue(arguments={**arguments, "x-queue-type": "quorum"}, **options)

    subscriber.channel.queue_declare = declare_quorum_queue
