"""A `Retry` outside its range: refused with a reason, and the event is not lost."""

from __future__ import annotations

from domain_event_broker import DomainEvent, Retry, Subscriber, publish_domain_event
from tests.amqp.support import Recorder, wait_for_dead_letters
from tests.support.consuming import consuming

DELAYS: dict[str, object] = {
    "negative": -1,
    "slightly-negative": -1e-9,
    "nan": float("nan"),
    "infinite": float("inf"),
    "long": 30 * 24 * 3600 + 1,
    "huge": 10**400,
    "string": "soon",
    "digits": "5",
    "none": None,
    "boolean": True,
}


class CarelessRetry(Retry):
    """A subclass that skips its base's own check."""

    def __init__(self, delay: object) -> None:
        self.delay = delay  # type: ignore[assignment]  # that is the mistake


def refuse(event: DomainEvent) -> None:
    kind, _, delay = event.routing_key.partition(".")
    if kind == "plain":
        raise Retry(DELAYS[delay])  # type: ignore[arg-type]  # that is the mistake
    if kind == "careless":
        raise CarelessRetry(DELAYS[delay])
    if kind == "bare":
        error = CarelessRetry(0)
        del error.delay
        raise error


def test_each_becomes_a_dead_letter_with_its_reason_and_other_events_go_on(
    broker_url: str,
) -> None:
    handler = Recorder(refuse)
    subscriber = Subscriber(broker_url)
    subscriber.register(handler, "hasty", ["#"], max_retries=3)
    keys = [f"{kind}.{delay}" for kind in ("plain", "careless") for delay in DELAYS]
    keys.append("bare.missing")
    expected: list[str] = []
    for key in keys:
        publish_domain_event(key, {}, connection_settings=broker_url)
        publish_domain_event("good.event", {}, connection_settings=broker_url)
        expected += [key, "good.event"]
    with consuming(subscriber):
        dead_letters = wait_for_dead_letters(broker_url, "hasty", len(keys))
        handler.wait_for(len(expected))
    assert handler.keys == expected
    assert [d.raw.headers["deb-routing-key"] for d in dead_letters] == keys
    for dead_letter in dead_letters:
        assert dead_letter.reason == "error"
        assert dead_letter.error_type == "domain_event_broker.errors.InvalidRetry"
        assert "from 0 to 2592000 (30 days)" in dead_letter.error_message


def test_both_ends_of_the_range_are_taken(broker_url: str) -> None:
    def retry(event: DomainEvent) -> None:
        if not event.retries:
            raise Retry(event.data["delay"])

    handler = Recorder(retry)
    subscriber = Subscriber(broker_url)
    subscriber.register(handler, "patient", ["#"], max_retries=1)
    for delay in (30 * 24 * 3600, 0):
        publish_domain_event("test.ends", {"delay": delay}, connection_settings=broker_url)
    with consuming(subscriber):
        handler.wait_for(3)
    assert handler.retries == [0, 0, 1]
    assert handler.events[-1].data == {"delay": 0}
