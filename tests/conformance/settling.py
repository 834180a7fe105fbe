"""Settling: acknowledge, release, and dead-letter."""

from dataclasses import replace

import pytest

from .harness import (
    LIMIT_SECONDS,
    Desk,
    copy,
    foreign_headers,
    ids,
    message,
    receive,
    retry_in,
    subscription,
    take_all,
)
from .publishing import BODIES, FOREIGN_HEADERS


class Settling:
    def test_an_acknowledged_message_is_gone(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription())
        desk.publish(*[message() for _ in range(5)])
        take_all(consumer, 5)
        assert consumer.flush(LIMIT_SECONDS)
        consumer.close()

        assert desk.waiting(subscription()) == 0

    def test_without_settlements_there_is_nothing_to_flush(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription())

        assert consumer.flush(0) is True

    def test_a_released_message_comes_again(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription())
        sent = message()
        desk.publish(sent)
        for _ in range(3):
            delivery = receive(consumer)
            assert delivery.message.message_id == sent.message_id
            consumer.release(delivery)

        assert ids(take_all(consumer, 1)) == [sent.message_id]

    def test_a_released_message_may_go_to_another_consumer(self, desk: Desk) -> None:
        first = desk.consumer(subscription())
        sent = message()
        desk.publish(sent)
        delivery = receive(first)
        second = desk.consumer(subscription())
        first.stop()
        first.release(delivery)

        assert ids(take_all(second, 1)) == [sent.message_id]

    def test_waiting_counts_neither_delivered_nor_delayed_messages(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription(retries=True))
        desk.publish(message())
        retry_in(consumer, receive(consumer), 60_000)
        assert consumer.flush(LIMIT_SECONDS)
        desk.publish(message())
        delivery = receive(consumer)

        assert consumer.waiting() == 0
        consumer.stop()
        assert consumer.flush(LIMIT_SECONDS)
        desk.publish(message(), message())
        assert consumer.waiting() == 2
        consumer.ack(delivery)

    def test_a_dead_lettered_message_is_stored_with_its_story(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription("handler", "user.*"))
        bystander = desk.consumer(subscription("bystander"))
        sent = message("user.registered", headers={"tenant": "x"}, app_id="theirs")
        desk.publish(sent)
        delivery = receive(consumer)
        story = copy(delivery.message, reason="error")
        consumer.dead_letter(delivery, story)
        assert consumer.flush(LIMIT_SECONDS)

        assert consumer.waiting() == 0
        with desk.transport.dead_letters("handler") as box:
            (dead_letter,) = box.take(10)
            kept = replace(dead_letter.message, headers={})
            assert kept == replace(sent, headers={})
            assert foreign_headers(dead_letter.message) == {"tenant": "x"}
            assert dead_letter.message.headers["deb-reason"] == "error"
        assert ids(take_all(bystander, 1)) == [sent.message_id]
        assert bystander.waiting() == 0

    @pytest.mark.parametrize("case", BODIES)
    def test_any_body_survives_its_moves_verbatim(self, desk: Desk, case: str) -> None:
        consumer = desk.consumer(subscription(retries=True))
        desk.publish(message(body=BODIES[case], headers=FOREIGN_HEADERS))
        retry_in(consumer, receive(consumer), 0)
        delivery = receive(consumer)
        assert delivery.message.body == BODIES[case]
        consumer.dead_letter(delivery, copy(delivery.message, reason="error"))
        assert consumer.flush(LIMIT_SECONDS)

        with desk.transport.dead_letters("handler") as box:
            (dead_letter,) = box.take(10)
            assert dead_letter.message.body == BODIES[case]
            assert foreign_headers(dead_letter.message) == FOREIGN_HEADERS

    def test_a_failure_costs_its_own_message_alone(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription())
        sent = [message() for _ in range(30)]
        desk.publish(*sent)
        for number in range(30):
            delivery = receive(consumer)
            if number % 3:
                consumer.ack(delivery)
            else:
                consumer.dead_letter(delivery, copy(delivery.message, reason="error"))
        assert consumer.flush(LIMIT_SECONDS)

        assert consumer.waiting() == 0
        with desk.transport.dead_letters("handler") as box:
            failed = [dead_letter.message for dead_letter in box.take(100)]
        assert sorted(map(str, ids(failed))) == sorted(map(str, ids(sent[::3])))
