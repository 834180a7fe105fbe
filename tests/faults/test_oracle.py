"""The oracle bites: what is broken on purpose is noticed, as what it is."""

from __future__ import annotations

from random import Random

import pytest

from .kills import kill_subscriber, publish_until_killed
from .oracle import Copies, Verdict
from .project import Shop
from .runs import seeds

pytestmark = [pytest.mark.fault(row=1), pytest.mark.fault(row=2)]


@pytest.fixture
def random() -> Random:
    (seed, *_) = seeds()
    print(f"FAULT_SEED={seed}")
    return Random(seed)


class TestVerdict:
    def test_each_effect_once_is_as_it_should_be(self) -> None:
        verdict = Verdict.on([("reserve", "1"), ("bill", "1")], [("bill", "1"), ("reserve", "1")])

        assert verdict.is_clean
        assert str(verdict) == "LOST 0; SPURIOUS 0; DOUBLE 0"

    def test_all_else_is_not(self) -> None:
        verdict = Verdict.on(
            [("reserve", "1"), ("bill", "1"), ("reserve", "2")],
            [("reserve", "1"), ("reserve", "1"), ("bill", "2"), ("reserve", "2")],
        )

        assert not verdict.is_clean
        assert str(verdict) == "LOST 1 (bill 1); SPURIOUS 1 (bill 2); DOUBLE 1 (reserve 1)"

    @pytest.mark.parametrize("effects", [[], [("bill", "1")], [("reserve", "1")] * 2])
    def test_one_of_them_is_enough(self, effects: list[tuple[str, str]]) -> None:
        assert not Verdict.on([("reserve", "1")], effects).is_clean

    def test_copies_are_counted(self) -> None:
        assert Copies.on(["1", "2"], {"2": 3, "3": 1}) == Copies(lost=1, spurious=1, duplicates=2)


class TestLost:
    def test_by_a_subscriber_that_acks_first(self, rabbitmq_shop: Shop, random: Random) -> None:
        self.ack_first(rabbitmq_shop, random)

    def test_by_one_on_the_database_transport(self, sqlite_shop: Shop, random: Random) -> None:
        self.ack_first(sqlite_shop, random)

    def test_by_a_publisher_without_an_outbox(self, rabbitmq_shop: Shop, random: Random) -> None:
        rabbitmq_shop.set_broker(OUTBOX=False)
        publish_until_killed("before the hand-over", rabbitmq_shop, random)

        assert rabbitmq_shop.settle(is_loss_expected=True).wrong == {"LOST"}

    def ack_first(self, shop: Shop, random: Random) -> None:
        shop.set(ACKED_FIRST=True)
        kill_subscriber("before the handler's commit", shop, random)

        assert shop.settle(is_loss_expected=True).wrong == {"LOST"}


def test_spurious_by_a_publisher_that_sends_before_its_commit(
    rabbitmq_shop: Shop, random: Random
) -> None:
    rabbitmq_shop.set(PUBLISHED_AT_ONCE=True)
    publish_until_killed("before the commit", rabbitmq_shop, random)

    assert rabbitmq_shop.settle().wrong == {"SPURIOUS"}


class TestDouble:
    def test_by_handlers_without_an_inbox(self, rabbitmq_shop: Shop, random: Random) -> None:
        self.leave_out_the_inbox(rabbitmq_shop, random)

    def test_by_those_on_the_database_transport(self, sqlite_shop: Shop, random: Random) -> None:
        self.leave_out_the_inbox(sqlite_shop, random)

    def leave_out_the_inbox(self, shop: Shop, random: Random) -> None:
        shop.set(INBOX=False)
        kill_subscriber("before the ack", shop, random)

        assert shop.settle().wrong == {"DOUBLE"}
