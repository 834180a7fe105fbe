"""Publishing: outcomes, their order, and that messages arrive as they were sent."""

from datetime import UTC, datetime
from typing import Any

import pytest

from domain_event_broker.messages import Message
from domain_event_broker.transports.base import Outcome
from tests.support.threads import start_thread

from .harness import (
    LIMIT_SECONDS,
    Desk,
    MakeTransport,
    foreign_headers,
    ids,
    message,
    receive,
    subscription,
    take_all,
)

BODIES = {
    "nothing": b"",
    "no UTF-8": b"\xff\x00\xfe",
    "every byte": bytes(range(256)),
    "1 MiB": b"x" * 1024 * 1024,
}
# Whatever a client of another make may write.
FOREIGN_HEADERS: dict[str, Any] = {
    "text": "Zoë",
    "small": 1,
    "large": 2**40,
    "negative": -1,
    "yes": True,
    "bytes": b"\xff\x00",
    "nothing": None,
    "list": [1, "two", [3]],
    "table": {"deeper": {"still": "x"}},
    "time": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
}


class Publishing:
    def test_each_message_of_a_large_batch_gets_its_own_outcome_in_order(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription("handler", "bound.*"))
        keys = ["bound.a" if number % 5 < 3 else "nobody.listens" for number in range(2_500)]
        batch = [message(key) for key in keys]

        assert desk.publish(*batch) == [
            Outcome.CONFIRMED if key == "bound.a" else Outcome.UNROUTABLE for key in keys
        ]
        routable = [sent for sent in batch if sent.routing_key == "bound.a"]
        assert ids(take_all(consumer, len(routable))) == ids(routable)

    def test_what_was_begun_ends_when_it_is_waited_for(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription("handler", "bound.*"))
        batch = [message("bound.a") for _ in range(2_500)]
        wait = desk.transport.begin_publish([*batch, message("nobody.listens")], LIMIT_SECONDS)
        desk.publish(message("nobody.listens"))

        outcomes = [result.outcome for result in wait()]
        assert outcomes == [Outcome.CONFIRMED] * 2_500 + [Outcome.UNROUTABLE]
        assert ids(take_all(consumer, 2_500)) == ids(batch)

    def test_a_good_outcome_has_no_error(self, desk: Desk) -> None:
        desk.consumer(subscription("handler", "bound.*"))
        results = desk.transport.publish(
            [message("bound.a"), message("nobody.listens")], LIMIT_SECONDS
        )

        assert [result.error for result in results] == [None, None]

    def test_an_empty_batch_has_no_outcomes(self, desk: Desk) -> None:
        assert desk.publish() == []

    def test_without_any_subscription_a_message_is_unroutable(self, desk: Desk) -> None:
        assert desk.publish(message(), message()) == [Outcome.UNROUTABLE] * 2

    def test_the_same_message_may_be_published_again(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription())
        same = message()

        assert desk.publish(same, same) == [Outcome.CONFIRMED] * 2
        assert ids(take_all(consumer, 2)) == [same.message_id] * 2

    @pytest.mark.parametrize("case", BODIES)
    def test_a_body_is_carried_verbatim(self, desk: Desk, case: str) -> None:
        consumer = desk.consumer(subscription())
        desk.publish(message(body=BODIES[case]))

        assert receive(consumer).message.body == BODIES[case]

    def test_every_property_is_carried(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription())
        sent = Message(
            routing_key="user.registered",
            body=b"{}",
            message_id="é" * 127,
            timestamp=1795236128,
            content_type="application/json",
            content_encoding="utf-8",
            correlation_id="the beginning",
            app_id="shop",
            type="user.registered.v1",
            reply_to="nobody",
            priority=5,
            headers={"deb-causation-id": "cause", "tenant": "x"},
        )
        desk.publish(sent)

        assert receive(consumer).message == sent

    def test_absent_properties_stay_absent(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription())
        sent = Message("a.b", b"{}")
        desk.publish(sent)

        assert receive(consumer).message == sent

    def test_headers_of_others_are_carried(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription())
        desk.publish(message(headers=FOREIGN_HEADERS))

        assert foreign_headers(receive(consumer).message) == FOREIGN_HEADERS

    def test_the_longest_names_and_keys_are_carried(self, desk: Desk) -> None:
        key = "é" * 127 + "k"
        consumer = desk.consumer(subscription("é" * 126, key))

        assert desk.publish(message(key)) == [Outcome.CONFIRMED]
        assert receive(consumer).message.routing_key == key

    def test_many_threads_may_publish_at_once(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription("handler", "bound.*"))
        outcomes: dict[str, list[Outcome]] = {}
        sent = {
            f"thread-{thread}": [
                message("bound.a" if number % 2 else "nobody.listens") for number in range(50)
            ]
            for thread in range(8)
        }

        def publish(name: str) -> None:
            outcomes[name] = [outcome for single in sent[name] for outcome in desk.publish(single)]

        threads = [start_thread(publish, name) for name in sent]
        for thread in threads:
            thread.join(LIMIT_SECONDS)

        assert list(outcomes.values()) == [[Outcome.UNROUTABLE, Outcome.CONFIRMED] * 25] * 8
        routable = [m for batch in sent.values() for m in batch if m.routing_key == "bound.a"]
        assert sorted(map(str, ids(take_all(consumer, 200)))) == sorted(map(str, ids(routable)))

    def test_transports_of_one_broker_share_its_queues(self, make_transport: MakeTransport) -> None:
        desk, other = Desk(make_transport()), Desk(make_transport(service="other"))
        consumer = desk.consumer(subscription())
        sent = message()

        assert other.publish(sent) == [Outcome.CONFIRMED]
        assert ids(take_all(consumer, 1)) == [sent.message_id]
        desk.close()

    def test_closing_a_transport_again_is_harmless(self, make_transport: MakeTransport) -> None:
        transport = make_transport()
        transport.publish([message()], LIMIT_SECONDS)
        transport.close()
        transport.close()
        make_transport().close()
