"""Routing: which subscription gets what."""

import pytest

from domain_event_broker.errors import TopologyMismatch
from domain_event_broker.transports.base import Outcome

from .harness import LIMIT_SECONDS, Desk, MakeTransport, message, subscription, take_all

KEYS = [
    "user",
    "user.registered",
    "user.address.changed",
    "order.placed",
    "order.user.changed",
    "users.registered",
]
EXPECTED = {
    "user.registered": ["user.registered"],
    "user.*": ["user.registered"],
    "user.#": ["user", "user.registered", "user.address.changed"],
    "*.*.changed": ["user.address.changed", "order.user.changed"],
    "#.changed": ["user.address.changed", "order.user.changed"],
    "*": ["user"],
    "*.#.*": [key for key in KEYS if key != "user"],
    "#": KEYS,
    "nobody.publishes.this": [],
}
LAST = "last.of.all"


class Routing:
    def test_binding_keys_are_matched_word_by_word(self, desk: Desk) -> None:
        consumers = {key: desk.consumer(subscription(key, key, LAST)) for key in EXPECTED}
        desk.publish(*map(message, [*KEYS, LAST]))

        for key, expected in EXPECTED.items():
            taken = take_all(consumers[key], len(expected) + 1)
            assert [m.routing_key for m in taken] == [*expected, LAST], key

    def test_keys_that_overlap_bring_one_copy(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription("handler", "user.*", "#", "user.registered"))
        desk.publish(message("user.registered"), message(LAST))

        taken = take_all(consumer, 2)
        assert [m.routing_key for m in taken] == ["user.registered", LAST]

    @pytest.mark.parametrize(
        ("exchange_type", "expected"),
        [
            ("topic", ["user.*", "user.registered"]),
            ("direct", ["user.registered"]),
            ("fanout", ["order.*", "user.*", "user.registered"]),
        ],
    )
    def test_another_exchange_routes_by_its_type_and_apart_from_the_default(
        self, make_transport: MakeTransport, exchange_type: str, expected: list[str]
    ) -> None:
        default = Desk(make_transport())
        desk = Desk(make_transport(exchange="other-events", exchange_type=exchange_type))
        default.consumer(subscription("elsewhere", "#"))
        consumers = {
            key: desk.consumer(subscription(key, key), start=False)
            for key in ("order.*", "user.*", "user.registered")
        }

        assert desk.publish(message("user.registered")) == [Outcome.CONFIRMED]
        assert [key for key, consumer in consumers.items() if consumer.waiting()] == expected
        assert default.waiting(subscription("elsewhere", "#")) == 0
        for one in (default, desk):
            one.close()

    def test_an_exchange_of_another_type_is_a_mismatch(self, make_transport: MakeTransport) -> None:
        desk = Desk(make_transport())
        desk.consumer(subscription())
        other = make_transport(exchange_type="fanout")
        with pytest.raises(TopologyMismatch):
            other.publish([message()], LIMIT_SECONDS)
        consumer = other.consumer()
        with pytest.raises(TopologyMismatch):
            consumer.subscribe(subscription("other"))
        consumer.close()
        desk.close()
