"""Dead letters: look, replay, discard, and leave in place."""

import pytest

from domain_event_broker.errors import DomainEventBrokerError, UnknownQueue
from domain_event_broker.handling import restarted
from domain_event_broker.messages import Message
from domain_event_broker.transports import base
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

HANDLER = subscription("handler", "fails.*")


def fill(desk: Desk, count: int) -> list[str | None]:
    """So many dead letters of `HANDLER`; return their ids."""
    consumer = desk.consumer(HANDLER)
    sent = [message("fails.now") for _ in range(count)]
    desk.publish(*sent)
    for _ in sent:
        delivery = receive(consumer)
        consumer.dead_letter(delivery, copy(delivery.message, reason="error", retries=2))
    assert consumer.flush(LIMIT_SECONDS)
    consumer.close()
    return ids(sent)


def taken(dead_letters: list[base.DeadLetter]) -> list[Message]:
    return [dead_letter.message for dead_letter in dead_letters]


def look(desk: Desk) -> list[str]:
    """The ids of all that is there, left in place."""
    with desk.transport.dead_letters("handler") as box:
        return sorted(map(str, ids(taken(list(box.take(1_000))))))


class DeadLetters:
    def test_each_is_taken_once(self, desk: Desk) -> None:
        expected = fill(desk, 7)
        with desk.transport.dead_letters("handler") as box:
            assert box.count() == 7
            first, second = list(box.take(3)), list(box.take(100))
            assert (len(first), len(second)) == (3, 4)
            assert list(box.take(100)) == []

            assert sorted(map(str, ids(taken(first + second)))) == sorted(map(str, expected))

    def test_the_count_leaves_out_what_is_taken(self, desk: Desk) -> None:
        fill(desk, 5)
        with desk.transport.dead_letters("handler") as box:
            assert box.count() == 5
            box.take(2)
            assert box.count() == 3

    def test_taking_none_takes_none(self, desk: Desk) -> None:
        fill(desk, 0)
        with desk.transport.dead_letters("handler") as box:
            assert box.count() == 0
            assert list(box.take(10)) == []

    def test_looking_again_and_again_leaves_all_in_place(self, desk: Desk) -> None:
        expected = sorted(map(str, fill(desk, 12)))
        for limit in (1, 5, 12, 100) * 3:
            with desk.transport.dead_letters("handler") as box:
                box.take(limit)

        assert look(desk) == expected

    def test_a_look_that_ends_in_an_error_leaves_all_in_place(self, desk: Desk) -> None:
        expected = sorted(map(str, fill(desk, 3)))
        error = LookupError()
        box = desk.transport.dead_letters("handler")
        box.__enter__()
        box.take(2)
        box.__exit__(LookupError, error, None)

        assert look(desk) == expected

    def test_more_than_a_hundred_are_taken_bit_by_bit(self, desk: Desk) -> None:
        expected = sorted(map(str, fill(desk, 230)))
        seen: list[str] = []
        with desk.transport.dead_letters("handler") as box:
            while batch := box.take(100):
                assert len(batch) <= 100
                seen += map(str, ids(taken(list(batch))))

        assert sorted(seen) == expected
        assert look(desk) == expected

    def test_a_replayed_one_goes_back_to_its_own_handler_alone(self, desk: Desk) -> None:
        (expected,) = fill(desk, 1)
        bystander = desk.consumer(subscription("bystander", "fails.*"), start=False)
        with desk.transport.dead_letters("handler") as box:
            (dead_letter,) = box.take(10)
            box.replay(dead_letter, restarted(dead_letter.message))
            assert box.count() == 0

        (back,) = take_all(desk.consumer(HANDLER), 1)
        assert back.message_id == expected
        assert back.routing_key == "fails.now"
        assert "deb-reason" not in back.headers
        assert "deb-retries" not in back.headers
        assert bystander.waiting() == 0
        assert look(desk) == []

    def test_a_discarded_one_is_gone(self, desk: Desk) -> None:
        fill(desk, 1)
        with desk.transport.dead_letters("handler") as box:
            (dead_letter,) = box.take(10)
            box.discard(dead_letter)

        assert look(desk) == []
        assert desk.waiting(HANDLER) == 0

    def test_each_one_is_decided_on_by_itself(self, desk: Desk) -> None:
        fill(desk, 9)
        kept, replayed = [], []
        with desk.transport.dead_letters("handler") as box:
            for number, dead_letter in enumerate(box.take(100)):
                if number % 3 == 0:
                    box.replay(dead_letter, restarted(dead_letter.message))
                    replayed.append(str(dead_letter.message.message_id))
                elif number % 3 == 1:
                    box.discard(dead_letter)
                else:
                    kept.append(str(dead_letter.message.message_id))

        assert look(desk) == sorted(kept)
        back = take_all(desk.consumer(HANDLER), 3)
        assert sorted(map(str, ids(back))) == sorted(replayed)

    def test_every_other_of_many_is_discarded(self, desk: Desk) -> None:
        expected = sorted(map(str, fill(desk, 300)))
        kept = []
        with desk.transport.dead_letters("handler") as box:
            for number, dead_letter in enumerate(box.take(300)):
                if number % 2:
                    box.discard(dead_letter)
                else:
                    kept.append(str(dead_letter.message.message_id))

        assert len(kept) == len(expected) / 2
        assert look(desk) == sorted(kept)

    def test_what_one_look_took_is_hidden_from_another_until_it_ends(self, desk: Desk) -> None:
        expected = sorted(map(str, fill(desk, 4)))
        with desk.transport.dead_letters("handler") as second:
            with desk.transport.dead_letters("handler") as first:
                mine = taken(list(first.take(3)))
                others = taken(list(second.take(100)))
                assert sorted(map(str, ids(mine + others))) == expected
                assert list(second.take(100)) == []
            back = wait_until(lambda: list(second.take(100)))
            assert {m.message_id for m in taken(back)} <= {m.message_id for m in mine}

        assert look(desk) == expected

    def test_one_that_cannot_be_replayed_is_kept(self, desk: Desk) -> None:
        passing = subscription("handler", "fails.*", auto_delete=True)
        consumer = desk.consumer(passing)
        sent = message("fails.now")
        desk.publish(sent)
        delivery = receive(consumer)
        consumer.dead_letter(delivery, copy(delivery.message))
        assert consumer.flush(LIMIT_SECONDS)
        consumer.close()
        wait_until(lambda: desk.is_gone("handler"))
        with desk.transport.dead_letters("handler") as box:
            (dead_letter,) = box.take(10)
            with pytest.raises(DomainEventBrokerError):
                box.replay(dead_letter, restarted(dead_letter.message))

        assert look(desk) == [sent.message_id]

    def test_closing_a_look_twice_is_harmless(self, desk: Desk) -> None:
        fill(desk, 1)
        box = desk.transport.dead_letters("handler")
        box.take(1)
        box.close()
        box.close()

        assert len(look(desk)) == 1

    def test_a_handler_without_dead_letters_is_unknown(self, desk: Desk) -> None:
        desk.consumer(subscription("keeps-none", "#", dead_letter=False))
        for name in ("nobody", "keeps-none"):
            with pytest.raises(UnknownQueue, match=name):
                desk.transport.dead_letters(name)
