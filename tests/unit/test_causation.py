"""What a handler publishes names the event that caused it."""

from domain_event_broker import DomainEvent, publish_domain_event
from domain_event_broker.context import current_handling

from .helpers import drain, received, subscriber, tap


def publish(url: str, routing_key: str = "user.registered") -> DomainEvent:
    return publish_domain_event(routing_key, {}, connection_settings=url)


def test_what_a_handler_publishes_names_its_cause(url: str) -> None:
    consumer = tap(url, binding_key="mail.sent")
    subscribed = subscriber(url, lambda event: publish(url, routing_key="mail.sent"), "first")
    cause = publish(url)
    subscribed.start_consuming(max_events=1)
    again = subscriber(
        url, lambda event: publish(url, routing_key="mail.sent"), "second", ["mail.sent"]
    )
    publish(url, routing_key="mail.sent")
    again.start_consuming(max_events=1)

    first, outside, second = received(consumer)
    assert first.headers["deb-causation-id"] == cause.uuid_string
    assert first.correlation_id == cause.uuid_string
    assert outside.headers == {}
    assert second.headers["deb-causation-id"] == outside.message_id
    assert second.correlation_id == outside.correlation_id
    assert current_handling() is None


def test_a_chain_of_events_keeps_its_first_correlation(url: str) -> None:
    consumer = tap(url, binding_key="three")
    links = {"one": "two", "two": "three"}
    subscribed = subscriber(
        url,
        lambda event: publish(url, routing_key=links[event.routing_key]),
        binding_keys=["one", "two"],
    )
    first = publish(url, routing_key="one")
    drain(subscribed)

    (third,) = received(consumer)
    assert third.correlation_id == first.uuid_string
    assert third.headers["deb-causation-id"] not in (first.uuid_string, third.message_id)
