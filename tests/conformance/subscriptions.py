"""Subscriptions: whose queue it is, how long it lives, and what a second look at it does."""

from typing import Any

import pytest

from domain_event_broker.errors import HandlerError, TopologyMismatch, TransportClosed
from domain_event_broker.transports.base import Outcome
from tests.support.waiting import wait_until

from .harness import (
    LIMIT_SECONDS,
    Desk,
    copy,
    ids,
    message,
    receive,
    subscription,
    take_all,
)


class Subscriptions:
    def test_each_subscription_gets_its_own_copy(self, desk: Desk) -> None:
        both = desk.consumer(subscription("one"), subscription("two"))
        third = desk.consumer(subscription("three"))
        sent = message()
        desk.publish(sent)

        deliveries = [receive(third)]
        for _ in range(2):
            deliveries.append(receive(both))
            both.ack(deliveries[-1])
        assert sorted(delivery.subscription.name for delivery in deliveries) == [
            "one",
            "three",
            "two",
        ]
        assert ids([delivery.message for delivery in deliveries]) == [sent.message_id] * 3

    def test_consumers_of_one_subscription_share_its_messages(self, desk: Desk) -> None:
        consumers = [desk.consumer(subscription()) for _ in range(3)]
        sent = [message() for _ in range(60)]
        desk.publish(*sent)

        taken: list[str] = []

        def all_are_taken() -> bool:
            for consumer in consumers:
                if (delivery := consumer.receive(0)) is not None:
                    taken.append(str(delivery.message.message_id))
                    consumer.ack(delivery)
            return len(taken) >= len(sent)

        wait_until(all_are_taken, LIMIT_SECONDS, interval_seconds=0)
        assert sorted(taken) == sorted(map(str, ids(sent)))
        assert all(consumer.flush(LIMIT_SECONDS) for consumer in consumers)
        assert consumers[0].waiting() == 0

    def test_messages_wait_while_nobody_consumes(self, desk: Desk) -> None:
        desk.consumer(subscription()).close()
        sent = [message() for _ in range(3)]
        assert desk.publish(*sent) == [Outcome.CONFIRMED] * 3

        assert ids(take_all(desk.consumer(subscription()), 3)) == ids(sent)

    def test_subscribing_again_with_other_keys_adds_them(self, desk: Desk) -> None:
        desk.consumer(subscription("handler", "one.*")).close()
        consumer = desk.consumer(subscription("handler", "two.*"))
        assert desk.publish(message("one.a"), message("two.a")) == [Outcome.CONFIRMED] * 2

        assert [m.routing_key for m in take_all(consumer, 2)] == ["one.a", "two.a"]

    def test_a_consumer_subscribes_to_a_name_once(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription("handler", "one.*"))
        with pytest.raises(HandlerError, match="already"):
            consumer.subscribe(subscription("handler", "two.*"))
        desk.publish(message("two.a"), message("one.a"))

        assert [m.routing_key for m in take_all(consumer, 1)] == ["one.a"]
        consumer.close()
        assert desk.waiting(subscription()) == 0

    def test_subscribing_while_started_brings_deliveries(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription("first", "one.*"))
        consumer.subscribe(subscription("second", "two.*"))
        desk.publish(message("two.a"))

        assert receive(consumer).subscription.name == "second"

    def test_dead_letters_may_be_turned_on_and_off(self, desk: Desk) -> None:
        for dead_letter in (True, False, True):
            desk.consumer(subscription(dead_letter=dead_letter)).close()
        consumer = desk.consumer(subscription(retries=True))
        desk.publish(message())
        delivery = receive(consumer)
        consumer.dead_letter(delivery, copy(delivery.message))
        assert consumer.flush(LIMIT_SECONDS)

        with desk.transport.dead_letters("handler") as box:
            assert len(box.take(10)) == 1

    def test_an_exclusive_subscription_belongs_to_one_consumer(self, desk: Desk) -> None:
        owner = desk.consumer(subscription(exclusive=True))
        rivals: list[dict[str, Any]] = [{"exclusive": True}, {}]
        for options in rivals:
            rival = desk.consumer()
            with pytest.raises(TopologyMismatch):
                rival.subscribe(subscription(**options))
        sent = message()
        desk.publish(sent)

        assert ids(take_all(owner, 1)) == [sent.message_id]

    def test_an_exclusive_subscription_goes_with_its_consumer(self, desk: Desk) -> None:
        owner = desk.consumer(subscription(exclusive=True))
        assert desk.is_routable("a.b")
        owner.close()

        wait_until(lambda: not desk.is_routable("a.b"))
        heir = desk.consumer(subscription(exclusive=True))
        assert heir.waiting() == 0

    def test_an_auto_delete_subscription_goes_with_its_last_consumer(self, desk: Desk) -> None:
        first = desk.consumer(subscription(auto_delete=True))
        last = desk.consumer(subscription(auto_delete=True))
        desk.publish(message(), message())
        take_all(first, 1)
        take_all(last, 1)
        first.close()
        assert desk.is_routable("a.b")
        take_all(last, 1)
        last.close()

        wait_until(lambda: not desk.is_routable("a.b"))

    @pytest.mark.parametrize(
        "options",
        [{"auto_delete": True}, {"exclusive": True}, {"durable": False}],
        ids=lambda options: next(iter(options)),
    )
    def test_a_queue_that_exists_with_other_arguments_is_a_mismatch(
        self, desk: Desk, options: dict[str, Any]
    ) -> None:
        desk.consumer(subscription()).close()
        sent = message()
        desk.publish(sent)
        consumer = desk.consumer(subscription("other", "other.*"))
        with pytest.raises(TopologyMismatch, match="handler"):
            consumer.subscribe(subscription(**options))

        # Nothing is lost, and the consumer goes on.
        desk.publish(message("other.a"))
        delivery = receive(consumer)
        assert delivery.subscription.name == "other"
        consumer.ack(delivery)
        assert ids(take_all(desk.consumer(subscription()), 1)) == [sent.message_id]

    def test_a_mismatch_may_be_followed_by_another_try(self, desk: Desk) -> None:
        owner = desk.consumer(subscription(exclusive=True))
        heir = desk.consumer()
        with pytest.raises(TopologyMismatch):
            heir.subscribe(subscription(exclusive=True))
        owner.close()
        heir.subscribe(subscription(exclusive=True))
        sent = message()
        desk.publish(sent)

        assert ids(take_all(heir, 1)) == [sent.message_id]

    def test_a_closed_consumer_subscribes_to_nothing(self, desk: Desk) -> None:
        used = desk.consumer(subscription())
        unused = desk.consumer()
        for consumer in (used, unused):
            consumer.close()
            with pytest.raises(TransportClosed):
                consumer.subscribe(subscription("other"))
