"""Receiving: start, stop, close, and what waits meanwhile."""

import threading

from domain_event_broker.transports.base import Consumer, Delivery
from tests.support.threads import start_thread
from tests.support.waiting import wait_until

from .harness import (
    LIMIT_SECONDS,
    Desk,
    copy,
    ids,
    message,
    receive,
    retry_in,
    subscription,
    take_all,
)


class Receiving:
    def test_nothing_is_delivered_before_the_start(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription("one"), subscription("two"), start=False)
        sent = [message() for _ in range(3)]
        desk.publish(*sent)

        assert consumer.receive(0.05) is None
        assert consumer.waiting() == 6
        consumer.start()
        consumer.start()
        assert len(take_all(consumer, 6)) == 6

    def test_messages_arrive_in_the_order_of_publishing(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription())
        sent = [message() for _ in range(300)]
        desk.publish(*sent)

        assert ids(take_all(consumer, 300)) == ids(sent)

    def test_waiting_for_nothing_ends_after_the_timeout(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription())

        assert consumer.receive(0.05) is None
        assert consumer.receive(0) is None

    def test_waiting_ends_when_a_message_comes(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription())
        received: list[Delivery | None] = []
        thread = start_thread(lambda: received.append(consumer.receive(LIMIT_SECONDS)))
        sent = message()
        desk.publish(sent)
        thread.join(LIMIT_SECONDS / 2)

        assert [delivery.message.message_id for delivery in received if delivery] == [
            sent.message_id
        ]

    def test_several_threads_may_receive_and_settle(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription())
        taken: list[str | None] = []

        def take() -> None:
            while (delivery := consumer.receive(LIMIT_SECONDS)) is not None:
                taken.append(delivery.message.message_id)
                consumer.ack(delivery)

        threads = [start_thread(take) for _ in range(4)]
        sent = [message() for _ in range(400)]
        desk.publish(*sent)
        wait_until(lambda: len(taken) >= 400, LIMIT_SECONDS)
        consumer.stop()
        for thread in threads:
            thread.join(LIMIT_SECONDS / 2)

        assert not any(thread.is_alive() for thread in threads)
        assert sorted(map(str, taken)) == sorted(map(str, ids(sent)))
        assert consumer.flush(LIMIT_SECONDS)
        assert desk.waiting(subscription()) == 0

    def test_stopping_wakes_all_who_wait(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription())
        received: list[Delivery | None] = []
        waiting = threading.Barrier(4)

        def wait() -> None:
            waiting.wait(LIMIT_SECONDS)
            received.append(consumer.receive(LIMIT_SECONDS))

        threads = [start_thread(wait) for _ in range(3)]
        waiting.wait(LIMIT_SECONDS)
        consumer.stop()
        for thread in threads:
            thread.join(LIMIT_SECONDS / 2)

        assert received == [None] * 3
        assert consumer.receive(LIMIT_SECONDS) is None

    def test_stopping_gives_back_what_nobody_took(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription())
        sent = [message() for _ in range(50)]
        desk.publish(*sent)
        taken = take_all(consumer, 10)
        consumer.stop()
        consumer.stop()

        rest = take_all(desk.consumer(subscription()), 40)
        assert sorted(map(str, ids(taken + rest))) == sorted(map(str, ids(sent)))

    def test_what_was_taken_can_be_settled_after_the_stop(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription("one"))
        desk.publish(message())
        delivery = receive(consumer)
        consumer.stop()
        consumer.ack(delivery)
        assert consumer.flush(LIMIT_SECONDS)
        consumer.close()

        assert desk.waiting(subscription("one")) == 0

    def test_what_is_unsettled_comes_back_after_the_close(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription())
        sent = [message() for _ in range(3)]
        desk.publish(*sent)
        receive(consumer)
        consumer.close(0)

        back = take_all(desk.consumer(subscription()), 3)
        assert sorted(map(str, ids(back))) == sorted(map(str, ids(sent)))

    def test_what_is_given_back_again_and_again_is_not_taken_for_a_poison(self, desk: Desk) -> None:
        desk.consumer(subscription()).close()
        desk.publish(message())
        crash_attempts = desk.transport.settings.crash_attempts
        for _ in range(crash_attempts + 2):
            consumer = desk.consumer(subscription())
            delivery = receive(consumer)
            assert delivery.crashes < crash_attempts
            consumer.stop()
            consumer.release(delivery)
            consumer.close()

    def test_closing_settles_first_what_was_decided_on(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription(retries=True))
        sent = [message() for _ in range(20)]
        desk.publish(*sent)
        for _ in sent[:-1]:
            consumer.ack(receive(consumer))
        last = receive(consumer)
        consumer.dead_letter(last, copy(last.message))
        consumer.close(LIMIT_SECONDS)
        consumer.close()

        assert desk.waiting(subscription()) == 0
        with desk.transport.dead_letters("handler") as box:
            assert [d.message.message_id for d in box.take(10)] == [last.message.message_id]

    def test_settling_after_the_close_is_harmless(self, desk: Desk) -> None:
        def settle_late(consumer: Consumer, delivery: Delivery, how: str) -> None:
            if how == "retry":
                retry_in(consumer, delivery, 0)
            elif how == "dead_letter":
                consumer.dead_letter(delivery, copy(delivery.message))
            else:
                getattr(consumer, how)(delivery)

        desk.consumer(subscription(retries=True)).close()
        sent = message()
        desk.publish(sent)
        for how in ("ack", "release", "dead_letter", "retry"):
            consumer = desk.consumer(subscription(retries=True))
            delivery = receive(consumer)
            assert delivery.message.message_id == sent.message_id
            consumer.close(0)
            settle_late(consumer, delivery, how)
            assert consumer.flush(LIMIT_SECONDS)

        assert ids(take_all(desk.consumer(subscription()), 1)) == [sent.message_id]
        with desk.transport.dead_letters("handler") as box:
            assert box.take(1) == []

    def test_closing_what_was_never_used_is_harmless(self, desk: Desk) -> None:
        consumer = desk.consumer(start=False)
        consumer.stop()
        consumer.close()
        consumer.close()
