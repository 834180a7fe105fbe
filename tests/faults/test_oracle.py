"""The oracle bites: what is broken on purpose is noticed, as what it is."""

from __future__ import annotations

import signal
from random import Random

import pytest

from tests.support.proxy import TO_SERVER, Link, proxy_before
from tests.support.waiting import wait_until

from .kills import kill_subscriber, publish_until_killed
from .networks import PUBLISHER, SUBSCRIBER, link_of
from .oracle import Copies, Verdict
from .project import PATIENCE_SECONDS, Shop
from .runs import seeds

pytestmark = [pytest.mark.fault(row=1), pytest.mark.fault(row=2)]

BACKLOG = 10
#: How the method begins, after the frame's own seven bytes: its class and its number.
BASIC_ACK = bytes([0, 60, 0, 80])


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

    @pytest.mark.fault(row=8)
    @pytest.mark.parametrize("moved", [{"RETRIES": 1}, {"FAILS": True}], ids=["retry", "letter"])
    def test_by_a_subscriber_that_acks_before_it_copies(
        self, rabbitmq_shop: Shop, moved: dict[str, object]
    ) -> None:
        rabbitmq_shop.set(ACKED_BEFORE_COPIED=True)
        kill_before_copying(rabbitmq_shop, moved, is_acked=True)

        verdict = rabbitmq_shop.settle(is_loss_expected=True)
        assert (verdict.wrong, len(verdict.lost)) == ({"LOST"}, 1)

    @pytest.mark.fault(row=8)
    def test_by_a_publisher_without_confirms(self, rabbitmq_shop: Shop) -> None:
        rabbitmq_shop.set(UNCONFIRMED=True)
        publish_while_nothing_passes(rabbitmq_shop)

        verdict = rabbitmq_shop.settle(is_loss_expected=True)
        assert (verdict.wrong, len(verdict.lost)) == ({"LOST"}, BACKLOG)

    def ack_first(self, shop: Shop, random: Random) -> None:
        shop.set(ACKED_FIRST=True)
        kill_subscriber("before the handler's commit", shop, random)

        assert shop.settle(is_loss_expected=True).wrong == {"LOST"}


class TestNotLost:
    """What loses events above, without the fault in the package."""

    @pytest.mark.fault(row=8)
    @pytest.mark.parametrize("moved", [{"RETRIES": 1}, {"FAILS": True}], ids=["retry", "letter"])
    def test_by_a_subscriber_that_copies_first(
        self, rabbitmq_shop: Shop, moved: dict[str, object]
    ) -> None:
        kill_before_copying(rabbitmq_shop, moved, is_acked=False)

        assert rabbitmq_shop.settle().is_clean

    @pytest.mark.fault(row=8)
    def test_by_a_publisher_with_confirms(self, rabbitmq_shop: Shop) -> None:
        publish_while_nothing_passes(rabbitmq_shop)

        assert rabbitmq_shop.settle().is_clean


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


def kill_before_copying(shop: Shop, moved: dict[str, object], *, is_acked: bool) -> None:
    """Kill a subscriber that moves an event to where it cannot: no publisher's link works."""
    shop.set(**moved)
    with proxy_before(shop.broker.url) as proxy:
        shop.set_broker(URL=proxy.url_for(shop.broker.url))
        process = shop.begin("run_subscriber")
        process.wait_for("Ready:")
        link = link_of(proxy, SUBSCRIBER)
        proxy.greet(Link.drop)
        shop.set_broker()
        shop.do("place_backlog", "1", "--until-sent")
        wait_until(lambda: proxy.links_with(b"AMQP") != [link], PATIENCE_SECONDS, shop.story)
        if is_acked:
            wait_until(lambda: BASIC_ACK in link.seen(TO_SERVER), PATIENCE_SECONDS, shop.story)
        process.kill()
        assert (BASIC_ACK in link.seen(TO_SERVER)) is is_acked
        assert shop.ledgers.starts.read()
    shop.set(RETRIES=0, FAILS=False)


def publish_while_nothing_passes(shop: Shop) -> None:
    """Hold what a publisher writes until its process has ended well; then that is gone."""
    with proxy_before(shop.broker.url) as proxy:
        shop.set_broker(URL=proxy.url_for(shop.broker.url), PUBLISH_TIMEOUT=1)
        backlog = ("place_backlog", str(BACKLOG), "--until-sent")
        process = shop.begin_stopped("while sending", 1, *backlog)
        link = link_of(proxy, PUBLISHER)
        link.hold(TO_SERVER)
        process.signal(signal.SIGCONT)
        assert process.wait() == 0, process.output
        link.reset()
    shop.set_broker()
