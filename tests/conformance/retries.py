"""Retries: when a message comes back, to whom, and as what."""

from dataclasses import replace
from typing import Any

import pytest

from domain_event_broker.handling import now_ms
from tests.support.waiting import wait_until

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

BROKERS_HEADERS: dict[str, Any] = {"x-mine": "x", "CC": ["other.key"], "BCC": ["other.key"]}


class Retries:
    @pytest.mark.parametrize("milliseconds", [0, 1, 100, 350, 1_000])
    def test_a_retried_message_comes_back_when_it_is_due(
        self, desk: Desk, milliseconds: int
    ) -> None:
        consumer = desk.consumer(subscription(retries=True))
        sent = message()
        desk.publish(sent)
        due_at_ms = retry_in(consumer, receive(consumer), milliseconds)
        delivery = receive(consumer)
        while now_ms() < due_at_ms:  # early, which is allowed: it is to be retried again
            consumer.retry(delivery, copy(delivery.message), due_at_ms)
            delivery = receive(consumer)

        assert delivery.message.message_id == sent.message_id
        consumer.ack(delivery)
        assert consumer.flush(LIMIT_SECONDS)
        assert consumer.waiting() == 0

    def test_it_counts_as_waiting_once_it_is_due(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription(retries=True))
        desk.publish(message())
        retry_in(consumer, receive(consumer), 100)
        consumer.stop()

        wait_until(lambda: consumer.waiting() == 1)

    def test_the_due_time_may_be_over(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription(retries=True))
        desk.publish(message())
        delivery = receive(consumer)
        consumer.retry(delivery, copy(delivery.message), now_ms() - 60_000)

        take_all(consumer, 1)

    def test_it_comes_back_to_its_own_subscription_alone(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription("retrying", "user.*", retries=True))
        bystander = desk.consumer(subscription("bystander", "user.*", retries=True))
        sent = message("user.registered")
        desk.publish(sent)
        take_all(bystander, 1)
        for _ in range(2):
            retry_in(consumer, receive(consumer), 1)
        take_all(consumer, 1)
        last = message("user.last")
        desk.publish(last)

        assert ids(take_all(bystander, 1)) == [last.message_id]
        assert ids(take_all(consumer, 1)) == [last.message_id]

    def test_it_comes_back_although_its_routing_key_is_bound_no_more(self, desk: Desk) -> None:
        desk.consumer(subscription("handler", "old.*")).close()
        sent = message("old.key")
        desk.publish(sent)
        consumer = desk.consumer(subscription("handler", "new.*", retries=True))
        retry_in(consumer, receive(consumer), 1)

        (back,) = take_all(consumer, 1)
        assert back.message_id == sent.message_id
        assert back.routing_key == "old.key"

    def test_a_shorter_delay_is_not_held_up_by_a_longer_one(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription(retries=True))
        long, short = message(), message()
        desk.publish(long, short)
        retry_in(consumer, receive(consumer), 120_000)
        retry_in(consumer, receive(consumer), 200)

        assert ids(take_all(consumer, 1)) == [short.message_id]
        assert consumer.receive(0) is None

    def test_changing_delays_come_back_by_their_due_times(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription(retries=True))
        delays = [3_200, 400, 1_600, 800]
        sent = {delay: message() for delay in delays}
        desk.publish(*sent.values())
        began_ms = now_ms()
        due = {sent[delay].message_id: began_ms + delay for delay in delays}

        order: list[str | None] = []
        while len(order) < len(delays):
            delivery = receive(consumer)
            due_at_ms = due[delivery.message.message_id]
            if now_ms() < due_at_ms:
                consumer.retry(delivery, copy(delivery.message), due_at_ms)
            else:
                consumer.ack(delivery)
                order.append(delivery.message.message_id)
        assert order == [sent[delay].message_id for delay in sorted(delays)]

    def test_it_comes_back_as_it_was_handed_over(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription(retries=True))
        sent = message(
            "user.registered",
            b"\xff\x00",
            timestamp=1795236128,
            correlation_id="beginning",
            app_id="theirs",
            type="v1",
            priority=3,
            headers={"tenant": "x"},
        )
        desk.publish(sent)
        for attempt in range(1, 4):
            delivery = receive(consumer)
            consumer.retry(delivery, copy(delivery.message, retries=attempt), now_ms())
        (back,) = take_all(consumer, 1)

        assert replace(back, headers={}) == replace(sent, headers={})
        assert foreign_headers(back) == {"tenant": "x"}
        assert back.headers["deb-retries"] == 3

    def test_the_brokers_own_headers_steer_no_copy(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription("handler", "a.b", retries=True))
        elsewhere = desk.consumer(subscription("elsewhere", "other.key", "last"), start=False)
        desk.publish(message("a.b", headers={**BROKERS_HEADERS, "tenant": "x"}))
        before = elsewhere.waiting()
        for _ in range(2):
            delivery = receive(consumer)
            retry_in(consumer, delivery, 1)
        (back,) = take_all(consumer, 1)

        assert foreign_headers(back) == {"tenant": "x"}
        assert "x-mine" not in back.headers
        assert elsewhere.waiting() == before

    def test_a_subscription_that_expected_no_retries_may_retry(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription(retries=False))
        sent = message()
        desk.publish(sent)
        retry_in(consumer, receive(consumer), 100)

        assert ids(take_all(consumer, 1)) == [sent.message_id]

    @pytest.mark.parametrize(
        "options", [{"exclusive": True}, {"auto_delete": True}], ids=["exclusive", "auto-delete"]
    )
    def test_subscriptions_that_do_not_last_may_retry(
        self, desk: Desk, options: dict[str, Any]
    ) -> None:
        consumer = desk.consumer(subscription(retries=True, **options))
        sent = message()
        desk.publish(sent)
        retry_in(consumer, receive(consumer), 100)

        assert ids(take_all(consumer, 1)) == [sent.message_id]

    def test_a_delayed_message_waits_for_a_subscription_that_is_away(self, desk: Desk) -> None:
        consumer = desk.consumer(subscription(retries=True))
        sent = message()
        desk.publish(sent)
        retry_in(consumer, receive(consumer), 200)
        consumer.close()

        assert ids(take_all(desk.consumer(subscription()), 1)) == [sent.message_id]

    def test_retries_for_a_subscription_that_is_gone_hold_up_nobody(self, desk: Desk) -> None:
        gone = desk.consumer(subscription("gone", "gone", exclusive=True, retries=True))
        desk.publish(*[message("gone") for _ in range(40)])
        for _ in range(40):
            retry_in(gone, receive(gone), 400)
        gone.close(LIMIT_SECONDS)
        consumer = desk.consumer(subscription("lasting", "lasting", retries=True))
        sent = message("lasting")
        desk.publish(sent)
        retry_in(consumer, receive(consumer), 400)

        assert ids(take_all(consumer, 1)) == [sent.message_id]
