"""Requeueing: messages for one handler, past exchange and bindings."""

from domain_event_broker.messages import Message
from domain_event_broker.transports.base import Outcome
from tests.support.threads import at_once
from tests.support.waiting import wait_until

from .harness import (
    LIMIT_SECONDS,
    Desk,
    copy,
    foreign_headers,
    ids,
    message,
    receive,
    subscription,
    take_all,
)
from .publishing import FOREIGN_HEADERS

HANDLER = subscription("handler", "order.*")
BYSTANDER = subscription("bystander", "#")


def requeue(desk: Desk, *messages: Message, handler: str = "handler") -> list[Outcome]:
    results = desk.transport.requeue(handler, messages, LIMIT_SECONDS)
    return [result.outcome for result in results]


class Requeueing:
    def test_a_message_goes_to_its_handler_alone(self, desk: Desk) -> None:
        consumer = desk.consumer(HANDLER)
        bystander = desk.consumer(BYSTANDER, start=False)
        sent = copy(message("order.placed"))

        assert requeue(desk, sent) == [Outcome.CONFIRMED]
        (back,) = take_all(consumer, 1)
        assert (back.message_id, back.routing_key) == (sent.message_id, "order.placed")
        assert bystander.waiting() == 0

    def test_no_binding_is_asked(self, desk: Desk) -> None:
        """A handler's keys may have changed since it failed."""
        consumer = desk.consumer(HANDLER)
        sent = copy(message("user.registered"))

        assert requeue(desk, sent) == [Outcome.CONFIRMED]
        (back,) = take_all(consumer, 1)
        assert back.routing_key == "user.registered"

    def test_body_properties_and_headers_are_carried(self, desk: Desk) -> None:
        consumer = desk.consumer(HANDLER)
        sent = Message(
            routing_key="order.placed",
            body=b"\xff\x00",
            message_id="é" * 127,
            timestamp=1795236128,
            content_type="text/plain",
            correlation_id="the beginning",
            app_id="shop",
            type="order.placed.v1",
            reply_to="nobody",
            priority=5,
            headers={"deb-routing-key": "order.placed", **FOREIGN_HEADERS},
        )
        requeue(desk, sent)

        back = receive(consumer).message
        assert foreign_headers(back) == FOREIGN_HEADERS
        assert back == sent

    def test_without_a_queue_all_are_unroutable(self, desk: Desk) -> None:
        desk.consumer(BYSTANDER)

        assert requeue(desk, *map(copy, [message(), message()])) == [Outcome.UNROUTABLE] * 2
        assert desk.waiting(BYSTANDER) == 0

    def test_a_queue_that_went_with_its_consumer_is_none(self, desk: Desk) -> None:
        passing = desk.consumer(subscription("handler", "order.*", auto_delete=True))
        desk.publish(message("order.placed"))
        take_all(passing, 1)  # so it consumes by now
        passing.close()

        wait_until(lambda: desk.is_gone("handler"))

    def test_a_good_outcome_has_no_error(self, desk: Desk) -> None:
        desk.consumer(HANDLER)
        results = desk.transport.requeue("handler", [copy(message())], LIMIT_SECONDS)

        assert [result.error for result in results] == [None]

    def test_none_have_no_outcomes(self, desk: Desk) -> None:
        desk.consumer(HANDLER)

        assert requeue(desk) == requeue(desk, handler="nobody") == []

    def test_many_arrive_in_order(self, desk: Desk) -> None:
        consumer = desk.consumer(HANDLER)
        sent = [copy(message(f"order.number{number % 7}")) for number in range(1_200)]

        assert requeue(desk, *sent) == [Outcome.CONFIRMED] * 1_200
        assert ids(take_all(consumer, 1_200)) == ids(sent)

    def test_the_same_message_may_be_sent_again(self, desk: Desk) -> None:
        consumer = desk.consumer(HANDLER)
        same = copy(message("order.placed"))

        assert requeue(desk, same, same) == [Outcome.CONFIRMED] * 2
        assert ids(take_all(consumer, 2)) == [same.message_id] * 2

    def test_they_come_behind_what_waits(self, desk: Desk) -> None:
        consumer = desk.consumer(HANDLER, start=False)
        first, second = message("order.placed"), copy(message("order.placed"))
        desk.publish(first)
        requeue(desk, second)
        consumer.start()

        assert ids(take_all(consumer, 2)) == ids([first, second])

    def test_several_threads_for_several_handlers(self, desk: Desk) -> None:
        names = ("one", "two", "three")
        consumers = [desk.consumer(subscription(name, "none")) for name in names]
        sent = {name: [copy(message("order.placed")) for _ in range(100)] for name in names}

        outcomes = at_once(*(lambda n=name: requeue(desk, *sent[n], handler=n) for name in names))

        assert outcomes == [[Outcome.CONFIRMED] * 100] * 3
        for name, consumer in zip(names, consumers, strict=True):
            assert ids(take_all(consumer, 100)) == ids(sent[name])
